package chaos_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dtc-project/dtc/test/internal/lossy"
)

// process is a server or participant that is started again and again. The storm alone
// starts, kills and stops it; others read url.
type process struct {
	name    string
	command func() *exec.Cmd
	proxy   *lossy.Proxy // in front of it
	stderr  *os.File     // of all its lives
	fail    func(format string, args ...any)

	cmd    *exec.Cmd
	stdin  io.Closer
	ready  chan struct{} // closed when it said where it is, or ended
	gone   chan struct{} // closed when it ended
	ending bool          // it is being killed

	mu  sync.Mutex
	url string

	kills, unready, stops int // unready: kills before it said where it is
	busy                  bool
	slowest               time.Duration // from its start until it was ready
}

// start starts the process. It is not ready yet.
func (p *process) start() error {
	cmd := p.command()
	cmd.Stderr = p.stderr
	// A test that is killed itself leaves nobody behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	began := time.Now()
	ready, gone := make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	p.cmd, p.stdin, p.ready, p.gone, p.ending = cmd, in, ready, gone, false
	p.mu.Unlock()
	go func() {
		defer close(gone)
		lines := bufio.NewReader(out)
		line, err := lines.ReadBytes('\n')
		var greeting struct{ URL string }
		if err == nil {
			err = json.Unmarshal(line, &greeting)
		}
		if err == nil {
			p.proxy.Target(strings.TrimPrefix(greeting.URL, "http://"))
			p.mu.Lock()
			p.url = greeting.URL
			p.slowest = max(p.slowest, time.Since(began))
			p.mu.Unlock()
		}
		close(ready)
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ending {
			p.fail("%s ended by itself: %v", p.name, cmd.ProcessState)
		}
	}()
	return nil
}

// kill kills the process, ready or not, stopped or not, and returns when it is gone.
func (p *process) kill() { p.end(syscall.SIGKILL) }

func (p *process) end(signal syscall.Signal) {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(signal)
	<-p.gone
	_ = p.stdin.Close()
}

// address returns where the process is, itself and not its proxy.
func (p *process) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

func (p *process) isReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// complaints returns what the process wrote that it must not write: panics, data races,
// errors in the log.
func (p *process) complaints() []string {
	text, err := os.ReadFile(p.stderr.Name())
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		for _, bad := range []string{`"level":"ERROR"`, "panic", "DATA RACE", "fatal error"} {
			if strings.Contains(line, bad) {
				all = append(all, fmt.Sprintf("%s says: %.1000s", p.name, line))
				break
			}
		}
	}
	return all
}
