package failpoint_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dtc-project/dtc/test/failpoint/internal/node"
)

// server is `dtc serve`, with the participants in a process beside it that is started
// again when it has been killed.
type server struct {
	dtc, child string

	mu        sync.Mutex
	parts     *process
	addresses []string
	records   []string // of the participants, in this life
	killed    bool     // the participants, in this life
	over      bool
	watching  sync.WaitGroup
}

// ofParts reports whether a point is hit by participants.
func ofParts(point string) bool { return strings.HasPrefix(point, "part/") }

func (f *server) close() {
	f.mu.Lock()
	f.over = true
	if f.parts != nil {
		_ = f.parts.cmd.Process.Kill()
	}
	f.mu.Unlock()
	f.watching.Wait()
}

// startParts starts the participants, where they were before, and again when they are
// killed. The caller holds f.mu.
func (f *server) startParts(w *world, a arm) error {
	if f.addresses == nil {
		f.addresses = []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}
	}
	text, err := json.Marshal(node.Orders{Dir: w.dir, Serve: f.addresses})
	if err != nil {
		return err
	}
	cmd := exec.Command(f.child)
	cmd.Env = append(cmd.Environ(), node.OrdersEnv+"="+string(text))
	record := w.recordFile(fmt.Sprintf("parts%d", len(f.records)))
	p, err := start(cmd, a, record)
	if err != nil {
		return err
	}
	line := <-p.lines
	if err := json.Unmarshal([]byte(line), &f.addresses); err != nil {
		p.kill()
		return fmt.Errorf("the participants say %q, %s", line, p.stderr.String())
	}
	f.parts, f.records = p, append(f.records, record)
	f.watching.Go(func() {
		<-p.gone
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.over || f.parts != p {
			return
		}
		if !p.killed() {
			w.fail("the participants ended: %v, %s", p.cmd.ProcessState, p.stderr.String())
		}
		f.killed = true
		if err := f.startParts(w, arm{}); err != nil {
			w.fail("the participants do not start: %v", err)
		}
	})
	return nil
}

// prepareParts sees to it that the participants run, with points armed if there are any.
func (f *server) prepareParts(w *world, a arm) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.killed, f.records = false, nil
	if old := f.parts; old != nil {
		if a.point == "" {
			return nil
		}
		f.parts = nil
		_ = old.cmd.Process.Kill()
		<-old.gone
	}
	return f.startParts(w, a)
}

func (f *server) live(w *world, l life) (end, error) {
	armServer, armParts := l.arm, arm{}
	if ofParts(l.arm.point) {
		armServer, armParts = arm{}, l.arm
	}
	if err := f.prepareParts(w, armParts); err != nil {
		return end{}, err
	}
	if w.life > 1 {
		if err := node.Plant(w.dir, w.life); err != nil {
			return end{}, fmt.Errorf("plant a branch: %w", err)
		}
	}
	record := w.recordFile("server")
	p, err := start(f.command(w), armServer, record)
	if err != nil {
		return end{}, err
	}
	late := time.AfterFunc(patience, func() {
		w.fail("it is not over after %v", patience)
		_ = p.cmd.Process.Kill()
	})
	defer late.Stop()
	f.mu.Lock()
	parts := f.parts
	f.mu.Unlock()
	stopped, partsStopped := p.goOn(armServer), parts.goOn(armParts)
	settled := f.use(w, l, p, record)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // if it is not gone already
	for range p.lines {
	}
	<-p.gone
	f.look(w, p, armServer)
	f.mu.Lock()
	defer f.mu.Unlock()
	e := end{
		killed: p.killed(), recovering: l.settle && settled == unsettled, stopped: stopped(),
		records: append([]string{record}, f.records...),
	}
	if armParts.point != "" {
		e.killed, e.recovering = f.killed, l.settle && settled != settledWithParts
		e.stopped = partsStopped()
	}
	return e, nil
}

// The ways in which a server came to new work, or did not.
const (
	unsettled        = iota // it was killed before
	settledWithout          // the participants were killed before
	settledWithParts        // nobody was
)

// use does with a server what clients do.
func (f *server) use(w *world, l life, p *process, record string) (settled int) {
	c := newClients(w, p)
	if !c.greeted() || l.settle && !c.settle() {
		return unsettled
	}
	f.mu.Lock()
	settled = settledWithParts
	if f.killed {
		settled = settledWithout
	}
	if l.settle {
		for _, r := range append([]string{record}, f.records...) {
			node.Mark(r)
		}
	}
	f.mu.Unlock()
	c.work(l.work)
	if l.ask && c.settle() {
		c.ask()
	}
	return settled
}

// look looks at how a server has ended, and at what it has said.
func (f *server) look(w *world, p *process, a arm) {
	if !p.cmd.ProcessState.Success() && (!p.killed() || !a.kills()) {
		w.fail("the server ended with %v", p.cmd.ProcessState)
	}
	for line := range strings.Lines(p.stderr.String()) {
		var entry struct{ Level, Msg string }
		_ = json.Unmarshal([]byte(line), &entry) // a panic is none
		if entry.Level == "" || entry.Level == "ERROR" && !node.Expected(entry.Msg) {
			w.fail("the server says: %.1000s", line)
		}
	}
}

func (f *server) command(w *world) *exec.Cmd {
	f.mu.Lock()
	defer f.mu.Unlock()
	args := []string{
		"serve", "--data", node.LogDir(w.dir), "--listen", "127.0.0.1:0", "-o", "json", "--log-format", "json",
		"--prepare-timeout", "2s", "--prepare-attempt", "500ms", "--finish-attempt", "1s",
		"--backoff", "2ms", "--finish-backoff-cap", "50ms", "--completion-wait", "300ms",
		"--sweep-interval", "1s", "--outcome-limit", "20", "--drain-timeout", "2s",
	}
	for i, name := range node.Services[:len(f.addresses)] {
		args = append(args, "--participant", name+"=http://"+f.addresses[i])
	}
	return exec.Command(f.dtc, args...)
}
