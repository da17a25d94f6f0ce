// Package wire is a proxy on loopback between a client and a database server that
// understands as much of their protocol as it needs to lose a connection at a chosen
// statement: before the server has seen it, or when the server has done it and the
// client has not heard of it. So a test reaches every window of doubt on purpose.
//
// What is common to all protocols is here; [Postgres] and [MySQL] read theirs.
package wire

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is what happens to one request.
type Fault int

// The faults. Faithful is none.
const (
	Faithful     Fault = iota
	CutRequest         // the connection is lost before the server has seen the request
	CutReply           // the server has answered, the connection is lost before the client hears of it
	StallRequest       // held back, and delivered when it is released, if there is still a client or not
	StallReply         // delivered, the answer is held back
	numFaults
)

var names = [numFaults]string{"faithful", "cut_request", "cut_reply", "stall_request", "stall_reply"}

// String returns the fault's name.
func (f Fault) String() string { return names[f] }

// Faults lists the faults, without Faithful.
func Faults() []Fault { return []Fault{CutRequest, CutReply, StallRequest, StallReply} }

// Codec reads the messages of one connection. Its methods are called from one goroutine
// each.
type Codec interface {
	// Request reads one message of the client. The text is that of the statement that
	// it has the server execute, if it does.
	Request() (raw []byte, text string, err error)
	// Reply reads one message of the server, and says whether it ends an answer.
	Reply() (raw []byte, last bool, err error)
}

// Protocol makes the codec of a connection.
type Protocol func(client, server net.Conn) Codec

// Trap is a fault that waits for its statement.
type Trap struct {
	text    string
	n       int
	fault   Fault
	hit     chan struct{}
	release chan struct{}
	done    chan struct{}
	once    sync.Once
}

func newTrap(text string, n int, f Fault) *Trap {
	return &Trap{text: text, n: n, fault: f, hit: make(chan struct{}), release: make(chan struct{}), done: make(chan struct{})}
}

// Hit is closed when the fault has happened: the connection is cut, or the message held.
func (t *Trap) Hit() <-chan struct{} { return t.hit }

// Done is closed when nothing more comes of the statement: the server has answered it, or
// will never see it.
func (t *Trap) Done() <-chan struct{} { return t.done }

// Release lets go what is held.
func (t *Trap) Release() { t.once.Do(func() { close(t.release) }) }

// Proxy passes connections on to one server. Its methods may be called from any number
// of goroutines.
type Proxy struct {
	protocol Protocol
	listener net.Listener
	running  sync.WaitGroup
	done     chan struct{}

	mu     sync.Mutex
	target string
	traps  []*Trap
	chance *chance
	links  map[*link]struct{}
	counts [numFaults]int
	cut    int
}

// chance draws faults of statements.
type chance struct {
	rng   *rand.Rand
	rates map[Fault]float64
	texts []string
	stall time.Duration
}

// New returns a proxy that listens on a port of loopback, before the server at target:
// host and port.
func New(protocol Protocol, target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{protocol: protocol, listener: l, target: target, done: make(chan struct{}), links: map[*link]struct{}{}}
	p.running.Go(p.accept)
	return p, nil
}

// Port returns where on 127.0.0.1 the proxy is.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Target says which server is behind the proxy for connections that are made from now on.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Arm sets a trap: the nth statement from now on that contains text meets the fault.
func (p *Proxy) Arm(text string, n int, f Fault) *Trap {
	t := newTrap(text, n, f)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps = append(p.traps, t)
	return t
}

// Storm makes the statements that contain one of the texts meet faults by chance, until
// Heal. The rates are from 0 to 1, and in sum at most 1; what is held is released after
// the time stall at most.
func (p *Proxy) Storm(seed uint64, rates map[Fault]float64, stall time.Duration, texts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chance = &chance{rng: rand.New(rand.NewPCG(seed, 0x317e)), rates: rates, texts: texts, stall: stall}
}

// Heal makes the proxy faithful to all that comes from now on, and lets go what it holds.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chance = nil
	for _, t := range p.traps {
		t.Release()
	}
	p.traps = nil
}

// Cut closes all connections, with what is under way on them.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
	p.cut += len(p.links)
}

// Counts returns how often each fault has happened, and how many connections Cut has
// closed.
func (p *Proxy) Counts() (by map[Fault]int, cut int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by = map[Fault]int{}
	for f, n := range p.counts {
		by[Fault(f)] = n
	}
	return by, p.cut
}

// Close ends the proxy, with all that it holds.
func (p *Proxy) Close() {
	close(p.done)
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{p: p, client: client, server: server, codec: p.protocol(client, server), replied: make(chan struct{})}
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	select {
	case <-p.done:
		l.close()
	default:
	}
	var both sync.WaitGroup
	both.Go(l.requests)
	both.Go(l.replies)
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// fate returns the trap that a statement has met, or nil.
func (p *Proxy) fate(text string) *Trap {
	if text == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.traps {
		if strings.Contains(text, t.text) {
			if t.n--; t.n == 0 {
				p.traps = slices.Delete(p.traps, i, i+1)
				p.counts[t.fault]++
				return t
			}
		}
	}
	c := p.chance
	if c == nil || !slices.ContainsFunc(c.texts, func(s string) bool { return strings.Contains(text, s) }) {
		return nil
	}
	x := c.rng.Float64()
	for _, f := range Faults() {
		if x -= c.rates[f]; x >= 0 {
			continue
		}
		t := newTrap("", 0, f)
		time.AfterFunc(time.Duration(c.rng.Float64()*float64(c.stall)), t.Release)
		p.counts[f]++
		return t
	}
	return nil
}

var errCut = errors.New("cut")
