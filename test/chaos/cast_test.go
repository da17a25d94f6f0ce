package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/test/internal/lossy"
)

// cast is everybody who plays: the server, the participants, the clients, and the
// networks between them.
type cast struct {
	*ledger
	t      *testing.T
	dir    string
	seed   uint64
	rng    *rand.Rand
	server *process
	parts  []*process
	front  *lossy.Proxy // between clients and server
	cut    *partitions  // nil where there are no namespaces
	turns  []*process   // who is struck next
	later  sync.WaitGroup
}

// storm is what the network does to every hundredth request or so.
var storm = map[lossy.Fault]float64{
	lossy.Delay: 0.05, lossy.Drop: 0.03, lossy.Silent: 0.005, lossy.CutRequest: 0.02,
	lossy.CutReply: 0.04, lossy.LateReply: 0.01, lossy.Duplicate: 0.05, lossy.Repeat: 0.03,
}

// newCast starts the installation and waits until it is ready. address gives each
// process its own host, by number.
func newCast(t *testing.T, seed uint64, breakage string, rates map[lossy.Fault]float64, address func(i int) string) *cast {
	t.Helper()
	dir, err := os.MkdirTemp("", "dtc-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cast{ledger: newLedger(), t: t, dir: dir, seed: seed, rng: rand.New(rand.NewPCG(seed, 0))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the files are kept in", dir)
			return
		}
		os.RemoveAll(dir)
	})
	binary := dtcBinary(t)
	args := []string{
		"serve", "--data", filepath.Join(dir, "log"), "--listen", address(0) + ":0", "-o", "json", "--log-format", "json",
		"--prepare-timeout", "3s", "--prepare-attempt", "700ms", "--finish-attempt", "1500ms", "--finish-backoff-cap", "500ms",
		"--completion-wait", "500ms", "--sweep-interval", "1s",
	}
	for i, name := range services {
		text, err := json.Marshal(part{dir, name, address(i+1) + ":0", i == plain, breakage})
		if err != nil {
			t.Fatal(err)
		}
		p := c.process(i+1, name, rates, func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+string(text))
			return cmd
		})
		c.parts = append(c.parts, p)
		args = append(args, "--participant", name+"="+p.proxy.URL())
	}
	c.server = c.process(0, "server", rates, func() *exec.Cmd { return exec.Command(binary, args...) })
	c.front = c.server.proxy
	for _, p := range c.everybody() {
		<-p.ready
		if p.address() == "" {
			text, _ := os.ReadFile(p.stderr.Name())
			t.Fatalf("%s does not start: %s", p.name, text)
		}
	}
	return c
}

func (c *cast) process(i int, name string, rates map[lossy.Fault]float64, command func() *exec.Cmd) *process {
	c.t.Helper()
	proxy, err := lossy.New(lossy.Options{Seed: c.seed + uint64(i), Rates: rates, MaxDelay: 1500 * time.Millisecond, Seen: c.hit})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(proxy.Close)
	stderr, err := os.Create(filepath.Join(c.dir, name+".stderr"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { stderr.Close() })
	p := &process{name: name, command: command, proxy: proxy, stderr: stderr, fail: c.fail}
	if err := p.start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.kill)
	return p
}

func (c *cast) everybody() []*process { return append([]*process{c.server}, c.parts...) }

// weather has clients at work and lets it storm for a time, and for up to four times as
// long until that was enough. It returns how long it took.
func (c *cast) weather(clients int, d time.Duration, enough func() bool) time.Duration {
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	var working sync.WaitGroup
	for i := range clients {
		working.Go(func() { newClient(c.ledger, c.front.URL(), c.seed, i+1).work(ctx) })
	}
	began := time.Now()
	for c.fine() && (time.Since(began) < d || time.Since(began) < 4*d && !enough()) {
		time.Sleep(c.within(300*time.Millisecond, 1300*time.Millisecond))
		c.strike()
	}
	stop()
	working.Wait()
	return time.Since(began)
}

func (c *cast) within(from, to time.Duration) time.Duration {
	return from + time.Duration(c.rng.Int64N(int64(to-from)))
}

// fine reports whether nothing is wrong yet.
func (c *cast) fine() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.wrong) == 0
}

// strike does one bad thing to somebody.
func (c *cast) strike() {
	if c.cut != nil && c.rng.IntN(2) == 0 {
		c.cut.strike(c)
	}
	p := c.victim()
	if p == nil {
		return
	}
	c.hits.Add(1)
	switch x := c.rng.Float64(); {
	case x < 0.1 && p.kills > 0:
		p.proxy.Cut()
	case x < 0.3 && p.kills > 0: // who was never killed is killed first
		p.stops++
		_ = p.cmd.Process.Signal(syscall.SIGSTOP)
		c.soon(p, c.within(100*time.Millisecond, 2500*time.Millisecond), func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) })
	default:
		c.kill(p)
		for c.rng.IntN(3) == 0 { // and again, while it comes back
			c.again(p)
			time.Sleep(c.within(0, 120*time.Millisecond))
			c.kill(p)
		}
		if c.rng.IntN(2) == 0 {
			c.again(p)
			return
		}
		c.soon(p, c.within(0, 2*time.Second), func() { c.again(p) })
	}
}

// victim returns who is next: everybody in turn, in an order that changes, and the server
// twice. It is nil if all whose turn it is are down or stopped still.
func (c *cast) victim() *process {
	if len(c.turns) == 0 {
		c.turns = slices.Concat([]*process{c.server, c.server}, c.parts)
		c.rng.Shuffle(len(c.turns), func(i, j int) { c.turns[i], c.turns[j] = c.turns[j], c.turns[i] })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.turns {
		if !p.busy {
			c.turns = slices.Delete(c.turns, i, i+1)
			return p
		}
	}
	return nil
}

func (c *cast) kill(p *process) {
	c.hits.Add(1)
	p.kills++
	if !p.isReady() {
		p.unready++
	}
	if p == c.server {
		c.epoch.Add(1)
		c.history.During(sim.OpKilled, p.kill)
		return
	}
	p.kill()
}

func (c *cast) again(p *process) {
	if err := p.start(); err != nil {
		c.fail("%s does not start: %v", p.name, err)
	}
}

// soon does something to a process after a while; until then nothing else happens to it.
func (c *cast) soon(p *process, d time.Duration, f func()) {
	c.mu.Lock()
	p.busy = true
	c.mu.Unlock()
	c.later.Go(func() {
		time.Sleep(d)
		f()
		c.mu.Lock()
		defer c.mu.Unlock()
		p.busy = false
	})
}

// report fails the test with all that is wrong, and says what was done.
func (c *cast) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n%s\n", c.seed, &c.counts)
	for _, p := range c.everybody() {
		n := p.proxy.Counts()
		fmt.Fprintf(&b, "%s: %d kills (%d before it was ready), %d stops, ready after %v at most; its network:",
			p.name, p.kills, p.unready, p.stops, p.slowest.Round(time.Millisecond))
		for f, count := range n.By {
			fmt.Fprintf(&b, " %v %d,", lossy.Fault(f), count)
		}
		fmt.Fprintf(&b, " cut %d\n", n.Cut)
	}
	if c.cut != nil {
		fmt.Fprintf(&b, "%v\n", c.cut)
	}
	return b.String()
}

// complain fails the test with all that is wrong.
func (c *cast) complain() {
	for i, w := range c.wrong {
		if i == 30 {
			c.t.Errorf("and %d more", len(c.wrong)-i)
			return
		}
		c.t.Error(w)
	}
}
