package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started starts the program, and ends it with the test.
func started(t *testing.T, cmd *exec.Cmd) (ended <-chan error) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return over
}

// program is a command line of the real program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// interrupted wants a program to end because of a signal, and soon.
func interrupted(t *testing.T, cmd *exec.Cmd, ended <-chan error, sig syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Errorf("%v: it ended as if nothing had been", sig)
		}
	case <-time.After(time.Minute):
		t.Errorf("%v: it goes on", sig)
	}
}

// TestLogIsInterrupted: a command that reads a log ends at a signal, whatever it waits for.
func TestLogIsInterrupted(t *testing.T) {
	dir, checkpoint := busy(t)
	for range 20 {
		checkpoint()
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := program(t, "log", "dump", "--data", dir)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd.Stdout = w
		ended := started(t, cmd)
		_ = w.Close()
		if _, err := r.Read(make([]byte, 1)); err != nil { // and no more: the pipe is full soon
			t.Fatal(err)
		}
		interrupted(t, cmd, ended, sig)
	}
}

// TestBenchIsInterrupted: it ends, and leaves nothing on the disk.
func TestBenchIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	cmd := program(t, "bench", "--data", dir, "--slice", "1h")
	ended := started(t, cmd)
	until(t, "it has begun", func() bool { return len(listed(t, dir)) > 0 })
	interrupted(t, cmd, ended, syscall.SIGINT)
	if names := listed(t, dir); len(names) > 0 {
		t.Errorf("it left %v", names)
	}
}

func listed(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestServeOutlivesItsReaders: who reads what a server says may go away.
func TestServeOutlivesItsReaders(t *testing.T) {
	for _, stdout := range []bool{false, true} { // read, or closed before the server greets
		cmd := program(t, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
		var out bytes.Buffer
		cmd.Stdout = &out
		if stdout {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			defer w.Close()
			cmd.Stdout = w
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = w
		ended := started(t, cmd)
		_ = w.Close()
		lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
		for lines.Scan() && !strings.Contains(lines.Text(), `"msg":"serving"`) {
		}
		_ = r.Close()
		for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} { // of both it says something
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; err != nil {
			t.Errorf("standard output closed: %v: %v; want it drained", stdout, err)
		}
	}
}
