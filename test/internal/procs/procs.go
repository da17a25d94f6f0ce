// Package procs starts, signals and ends the processes of a test. None of them outlives
// it, also if the test itself is killed.
package procs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a process that greets with one line of JSON on its standard output when it
// is ready: {"url": …}.
type Process struct {
	Name string
	URL  string // "" if it ended before it was ready

	cmd     *exec.Cmd
	greeted chan string // nil when it has been heard
	gone    chan struct{}
	stderr  buffer
}

// ready is how long a process may take to be ready.
const ready = 60 * time.Second

// Start starts a process, and waits until it is ready or has ended.
func Start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := Launch(t, name, cmd)
	p.Ready(t)
	return p
}

// Launch starts a process. Who wants to know whether it is ready calls Ready.
func Launch(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Name: name, cmd: cmd, gone: make(chan struct{})}
	cmd.Stderr = &p.stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	in, err := cmd.StdinPipe() // open as long as the test runs
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started, greeted := make(chan error), make(chan string, 1)
	go func() {
		// Pdeathsig comes when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		lines := bufio.NewReader(out)
		var greeting struct{ URL string }
		if line, err := lines.ReadBytes('\n'); err == nil {
			_ = json.Unmarshal(line, &greeting) // what does not say where it is is not ready
		}
		greeted <- greeting.URL
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		_ = in.Close()
		close(p.gone)
	}()
	if err := <-started; err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p.greeted = greeted
	t.Cleanup(p.Kill)
	return p
}

// Ready waits until the process is ready or has ended, and reports whether it is ready.
func (p *Process) Ready(t testing.TB) bool {
	t.Helper()
	if p.greeted == nil {
		return p.URL != ""
	}
	select {
	case p.URL = <-p.greeted:
		p.greeted = nil
	case <-time.After(ready):
		p.Kill()
		t.Fatalf("%s is not ready after %v: %s", p.Name, ready, p.Stderr())
	}
	if p.URL == "" {
		<-p.gone
	}
	return p.URL != ""
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal, if the process has not ended.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill kills it, stopped or not, and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.gone
}

// Gone is closed when the process has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Code waits until it has ended and returns its exit code, -1 after a signal.
func (p *Process) Code() int {
	<-p.gone
	return p.cmd.ProcessState.ExitCode()
}

// Stderr is what it has written to its standard error until now.
func (p *Process) Stderr() string { return p.stderr.String() }

// Complaints returns what it wrote that no process must write, whatever happens to it.
func (p *Process) Complaints() []string {
	var all []string
	for line := range strings.Lines(p.Stderr()) {
		for _, bad := range []string{"panic", "DATA RACE", "fatal error", "contradict"} {
			if strings.Contains(line, bad) {
				all = append(all, fmt.Sprintf("%s says: %.1000s", p.Name, line))
				break
			}
		}
	}
	return all
}

// buffer is the end of what a process wrote.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.b.Len() > 8<<20 {
		b.b.Reset()
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// BinaryEnv names a dtc that is built already, with the race detector. test.sh sets it,
// so that not every package builds another.
const BinaryEnv = "DTC_TEST_BINARY"

// Build builds the binary of dtc into a directory and returns its path. The test runs in
// a directory of module test.
func Build(dir string, flags ...string) (string, error) {
	path := filepath.Join(dir, "dtc")
	if built := os.Getenv(BinaryEnv); built != "" && slices.Contains(flags, "-race") {
		return path, copyFile(path, built)
	}
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, ".")...)
	cmd.Dir = filepath.Join("..", "..", "cmd", "dtc")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build dtc: %w\n%s", err, out)
	}
	return path, os.Chmod(path, 0o755)
}

// copyFile makes a program that another account may run too.
func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, text, 0o755); err != nil {
		return err
	}
	return os.Chmod(to, 0o755)
}
