package failpoint_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dtc-project/dtc/test/failpoint/internal/node"
)

// process is a child with points armed.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	lines  chan string // what it prints; closed when it is gone
	stderr bytes.Buffer
	record string
	gone   chan struct{}
}

// start starts a process; record is where it writes
// what was hit.
func start(cmd *exec.Cmd, a arm, record string) (*process, error) {
	p := &process{cmd: cmd, lines: make(chan string, 1024), record: record, gone: make(chan struct{})}
	cmd.Env = append(cmd.Environ(), node.ArmEnv+"="+a.String(), node.RecordEnv+"="+record)
	cmd.Stderr = &p.stderr
	// A test that is killed itself leaves nobody behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.stdin = in
	go func() {
		defer close(p.lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			p.lines <- strings.TrimSuffix(line, "\n")
		}
		_ = cmd.Wait()
		_ = in.Close()
		close(p.gone)
	}()
	return p, nil
}

// killed reports whether the process, which is gone, was ended by SIGKILL.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.lines { // so that it is not waited for
	}
	<-p.gone
}

// goOn lets a process go on a while after it has stopped itself, if it is to. Its result
// says whether it did, when the process is gone.
func (p *process) goOn(a arm) (did func() bool) {
	if a.stop == 0 {
		return func() bool { return false }
	}
	c := make(chan bool, 1)
	go func() {
		stopped := p.stopped(patience)
		if stopped {
			time.Sleep(a.stop)
			stopped = p.cmd.Process.Signal(syscall.SIGCONT) == nil
		}
		c <- stopped
	}()
	return func() bool { return <-c }
}

// stopped waits until the process has stopped itself, and reports whether it has.
func (p *process) stopped(patience time.Duration) bool {
	name := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.gone:
			return false
		default:
		}
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it may be gone now
		}
		if i := bytes.LastIndexByte(text, ')'); i > 0 && len(text) > i+2 && text[i+2] == 'T' {
			return true
		}
	}
	return false
}

// hits returns how often each point was hit before everything was settled, and after.
func hits(record string) (recovering, working map[string]int, settled bool, err error) {
	text, err := os.ReadFile(record)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	recovering, working = map[string]int{}, map[string]int{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == node.Settled:
			settled = true
		case settled:
			working[line]++
		default:
			recovering[line]++
		}
	}
	return recovering, working, settled, err
}
