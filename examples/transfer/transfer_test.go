package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// open makes a directory that the servers may enter, which are not root if this is.
func open(t *testing.T) string {
	dir := t.TempDir()
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRunOnce runs the script as a reader would: it starts the servers, kills all three,
// and says that the sums are right.
func TestRunOnce(t *testing.T) {
	if os.Getenv("DTC_SKIP_DATABASES") == "1" {
		t.Skip("DTC_SKIP_DATABASES=1: NOTHING was tested of the example transfer")
	}
	temp := open(t)
	cmd := exec.Command("sh", "run.sh", "--once")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that nothing that it starts outlives the test
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rest := string(out)
	for _, text := range []string{
		"kill -9 transfer", "kill -9 mariadb", "kill -9 postgres", "what is in doubt is finished", "transfers were told as committed",
		"PostgreSQL ", " 0 in doubt", "MariaDB ", " 0 in doubt", "OK: 20000 together",
	} {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("it does not say %q after what comes before:\n%s", text, out)
		}
		rest = after
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("it left %v %v", left, err)
	}
	told := regexp.MustCompile(`(\d+) transfers were told`).FindSubmatch(out)
	there := regexp.MustCompile(`(\d+) transfers, `).FindSubmatch(out)
	a, _ := strconv.Atoi(string(told[1]))
	b, _ := strconv.Atoi(string(there[1]))
	if a == 0 || a > b {
		t.Errorf("%d were told, and %d are there", a, b)
	}
}

// TestRunRefuses: what it does not know, and a program that is told nothing.
func TestRunRefuses(t *testing.T) {
	cmd := exec.Command("sh", "run.sh", "--what")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !bytes.Contains(out, []byte("usage: ")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestInterrupted: Ctrl-C ends it, with the servers, after a check.
func TestInterrupted(t *testing.T) {
	if os.Getenv("DTC_SKIP_DATABASES") == "1" {
		t.Skip("DTC_SKIP_DATABASES=1: NOTHING was tested of the example transfer")
	}
	dir := open(t)
	cmd := exec.Command("sh", "run.sh", "--dir", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	text := ""
	for b := make([]byte, 4096); !strings.Contains(text, "examples/transfer/README.md"); {
		n, err := said.Read(b)
		if text += string(b[:n]); err != nil {
			t.Fatalf("%v after %s%s", err, text, &out)
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // as a terminal does: to all of them
	for b := make([]byte, 4096); ; {
		n, err := said.Read(b)
		if text += string(b[:n]); err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(text, "OK: 20000 together") {
		t.Errorf("%v\n%s%s", err, text, &out)
	}
	for _, name := range []string{"transfer", "postgres", "mariadb"} {
		pid, err := os.ReadFile(dir + "/" + name + ".pid")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); syscall.Kill(n, 0) == nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s still runs", name)
			}
		}
	}
}
