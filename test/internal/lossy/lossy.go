// Package lossy is an HTTP proxy on loopback that does to requests what networks do:
// it loses them, loses their answers, delivers them twice, late, or in part.
//
// What happens to a request is drawn from a seed and counted. A request that was taken
// in is delivered even if its sender has given up, as it may be on a real network: the
// receiver sees prepares and commits that nobody waits for any more.
package lossy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what happens to one request.
type Fault int

// The faults. Faithful is none.
const (
	Faithful   Fault = iota
	Delay            // delivered after a while
	Drop             // the connection is reset, nothing was delivered
	Silent           // taken in, never delivered, never answered: half open
	CutRequest       // delivered in part, then both connections are closed
	CutReply         // delivered, the answer is lost or arrives in part
	LateReply        // delivered, the answer comes when the sender has gone
	Duplicate        // delivered twice at once
	Repeat           // delivered, answered, and delivered once more after a while
	numFaults
)

var names = [numFaults]string{"faithful", "delay", "drop", "silent", "cut_request", "cut_reply", "late_reply", "duplicate", "repeat"}

// String returns the fault's name.
func (f Fault) String() string { return names[f] }

// Faults lists the faults, without Faithful.
func Faults() []Fault {
	var all []Fault
	for f := Faithful + 1; f < numFaults; f++ {
		all = append(all, f)
	}
	return all
}

// Counts says how many requests had each fate, and how many connections were cut by
// [Proxy.Cut].
type Counts struct {
	By  [numFaults]int
	Cut int
}

// Options configure a proxy.
type Options struct {
	Seed uint64
	// Rates are the shares of the faults, from 0 to 1, and in sum at most 1.
	Rates map[Fault]float64
	// MaxDelay bounds how late a request is that is delayed or repeated. An answer
	// that is late comes when its sender has gone, or after ten times MaxDelay.
	MaxDelay time.Duration
	// Seen, if not nil, learns of every fault before it happens. It is called from
	// several goroutines.
	Seen func(f Fault, path string, body []byte)
}

// Proxy passes HTTP requests on to one server, more or less. Its methods may be called
// from any number of goroutines.
type Proxy struct {
	o         Options
	listener  net.Listener
	server    *http.Server
	transport *http.Transport
	target    atomic.Pointer[string]
	faithful  atomic.Bool
	running   sync.WaitGroup
	ctx       context.Context
	cancel    context.CancelFunc

	mu     sync.Mutex
	rng    *rand.Rand
	counts Counts
	conns  map[net.Conn]struct{}
}

// New returns a proxy that listens on a port of loopback. Until [Proxy.Target] there is
// nobody behind it, and connections are reset.
func New(o Options) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		o: o, listener: l, rng: rand.New(rand.NewPCG(o.Seed, 0x10557)), conns: map[net.Conn]struct{}{},
		transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConnsPerHost: 64, DisableCompression: true,
		},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.server = &http.Server{Handler: p, ConnState: p.track, ReadHeaderTimeout: time.Minute}
	p.running.Go(func() { _ = p.server.Serve(l) })
	return p, nil
}

// URL returns where the proxy is.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Target says which server is behind the proxy from now on: host and port.
func (p *Proxy) Target(addr string) { p.target.Store(&addr) }

// Heal makes the proxy faithful to every request that comes from now on; those that it
// holds keep their fate.
func (p *Proxy) Heal() { p.faithful.Store(true) }

// Counts returns what was done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Cut closes the connections of all senders, with what is under way on them.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.counts.Cut += len(p.conns)
}

// Close ends the proxy, with all that it holds.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.server.Close()
	p.running.Wait()
	p.transport.CloseIdleConnections()
}

func (p *Proxy) track(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(p.conns, c)
	case http.StateActive, http.StateIdle:
	}
}

// draw decides the fate of a request, and how long it is held.
func (p *Proxy) draw() (Fault, time.Duration, float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, f, delay := p.rng.Float64(), Faithful, time.Duration(p.rng.Float64()*float64(p.o.MaxDelay))
	part := p.rng.Float64()
	if !p.faithful.Load() {
		for _, each := range Faults() {
			if x -= p.o.Rates[each]; x < 0 {
				f = each
				break
			}
		}
	}
	p.counts.By[f]++
	return f, delay, part
}

// ServeHTTP takes in one request. It is for the proxy's own server.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.running.Add(1)
	defer p.running.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f, delay, part := p.draw()
	if f != Faithful && p.o.Seen != nil {
		p.o.Seen(f, r.URL.Path, body)
	}
	switch f {
	case Drop:
		p.reset(w)
		return
	case Silent:
		p.wait(r.Context().Done(), time.Hour)
		panic(http.ErrAbortHandler)
	case CutRequest:
		p.deliverPart(r, body, part)
		panic(http.ErrAbortHandler)
	case Delay:
		p.wait(nil, delay)
	case Duplicate:
		p.running.Go(func() { p.again(r, body, 0) })
	case Faithful, CutReply, LateReply, Repeat, numFaults:
	}
	a, err := p.deliver(r, body)
	if err != nil {
		p.reset(w)
		return
	}
	switch f {
	case CutReply:
		a.write(w, int(part*2*float64(len(a.body)))-len(a.body)) // half of them without a byte
		panic(http.ErrAbortHandler)
	case LateReply:
		p.wait(r.Context().Done(), 10*p.o.MaxDelay)
	case Repeat:
		p.running.Go(func() { p.again(r, body, delay) })
	case Faithful, Delay, Drop, Silent, CutRequest, Duplicate, numFaults:
	}
	a.write(w, len(a.body))
}

// wait returns after d, when done is closed, or when the proxy ends.
func (p *Proxy) wait(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	case <-p.ctx.Done():
	}
}

// reset closes the sender's connection without an answer; the sender sees a reset.
func (p *Proxy) reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// write passes on the first n bytes of an answer's body; a negative n nothing at all.
func (a *answer) write(w http.ResponseWriter, n int) {
	if n < 0 {
		return
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:n])
	if n < len(a.body) {
		_ = http.NewResponseController(w).Flush()
	}
}

// outgoing makes the request that is delivered. It has no end of the sender's: what
// was taken in arrives.
func (p *Proxy) outgoing(r *http.Request, body []byte) (*http.Request, error) {
	to := p.target.Load()
	if to == nil {
		return nil, errors.New("nobody is behind the proxy")
	}
	out, err := http.NewRequestWithContext(p.ctx, r.Method, "http://"+*to+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Connection")
	out.GetBody = nil // nothing is sent again that was not meant to be
	return out, nil
}

func (p *Proxy) deliver(r *http.Request, body []byte) (*answer, error) {
	out, err := p.outgoing(r, body)
	if err != nil {
		return nil, err
	}
	res, err := p.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header}
	a.body, err = io.ReadAll(res.Body)
	return a, err
}

// again delivers a request whose answer nobody gets.
func (p *Proxy) again(r *http.Request, body []byte, delay time.Duration) {
	p.wait(nil, delay)
	_, _ = p.deliver(r, body)
}

// deliverPart sends less than the whole request.
func (p *Proxy) deliverPart(r *http.Request, body []byte, part float64) {
	out, err := p.outgoing(r, body)
	if err != nil {
		return
	}
	var whole bytes.Buffer
	if err := out.Write(&whole); err != nil {
		return
	}
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(p.ctx, "tcp", out.URL.Host)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write(whole.Bytes()[:int(part*float64(whole.Len()-1))])
}
