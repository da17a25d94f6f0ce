package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// openTerminal opens a pair of terminals: what is written to the one is read from the other.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: this machine gives no pseudo-terminal, so nobody could be asked: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	var n, unlock int32
	for request, value := range map[uintptr]*int32{syscall.TIOCGPTN: &n, syscall.TIOCSPTLCK: &unlock} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Skipf("SKIPPED: this machine gives no pseudo-terminal, so nobody could be asked: %v", errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: this machine gives no pseudo-terminal, so nobody could be asked: %v", err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// TestTxResolveAsks: a person is told what the statement means, and only yes is one.
func TestTxResolveAsks(t *testing.T) {
	r, _ := waiting(t, "order-1")
	person, program := openTerminal(t)
	resolve := func(in *os.File, outcome string) result {
		var out, complaints bytes.Buffer
		args := []string{"tx", "resolve", "order-1", "b", outcome, "--reason", "gone", "--server", r.URL}
		code := run(t.Context(), args, in, &out, &complaints)
		return result{code, out.String(), complaints.String()}
	}
	answer := func(line, outcome string) result {
		if _, err := person.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
		return resolve(program, outcome)
	}
	for _, line := range []string{"no", "y", "", "YES"} {
		answer(line, "rolled_back").want(t, exitFailed, "order-1 was decided: committed", "will be heuristic", "Type yes", "nothing was done")
	}
	if got := answer("no", "committed"); strings.Contains(got.err, "heuristic") {
		t.Errorf("it warns of the decision itself: %s", got.err)
	}
	null, err := os.Open(os.DevNull) // which looks like a terminal, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	resolve(null, "committed").want(t, exitFailed, "nothing was done")
	if strings.Contains(r.log.String(), "operator action") {
		t.Error("something was done without a yes")
	}
	answer("yes", "committed").want(t, exitDone, "no more")
	call(t, "tx", "show", "order-1", "--server", r.URL).want(t, exitDone, "committed")
}

// TestTxResolveIsInterrupted: who is asked may also go.
func TestTxResolveIsInterrupted(t *testing.T) {
	r, _ := waiting(t, "order-1")
	_, terminal := openTerminal(t)
	cmd := program(t, "tx", "resolve", "order-1", "b", "committed", "--reason", "gone", "--server", r.URL)
	cmd.Stdin = terminal
	asked, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	cmd.Stderr = w
	ended := started(t, cmd)
	_ = w.Close()
	var text []byte
	for b := make([]byte, 256); !bytes.Contains(text, []byte("Type yes")); {
		n, err := asked.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
		text = append(text, b[:n]...)
	}
	interrupted(t, cmd, ended, syscall.SIGINT)
}
