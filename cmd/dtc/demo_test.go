package main

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
	"github.com/dtc-project/dtc/wal"
)

// kept runs the demo once, for all tests that read what it leaves. They must not
// change it.
func kept(t *testing.T) (dir string, r result) {
	t.Helper()
	keptOnce.Do(func() {
		keptResult = execute(t, "demo", "--data", filepath.Join(scratch, "kept"))
	})
	keptResult.want(t, exitDone)
	return filepath.Join(scratch, "kept"), keptResult
}

var (
	keptOnce   sync.Once
	keptResult result
)

func TestDemo(t *testing.T) {
	_, r := kept(t)
	r.want(t, exitDone,
		"vote_commit", "forced to disk", "vote_abort", "out of stock", "rolled back",
		"no answer", "attempt 4", "IS BACK", "SIGKILL", "prepared", "recovery",
		"OK: every order is in all three databases or in none")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) > 85 {
		t.Errorf("%d lines: too long for a person", len(lines))
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 100 && !strings.Contains(line, scratch) {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(r.out, "\x1b") {
		t.Error("there are colours in what is no terminal")
	}
	if r.err != "" {
		t.Errorf("complaints: %s", r.err)
	}
}

// TestDemoThatNobodyHears: a story that could not be written is no success.
func TestDemoThatNobodyHears(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd := exec.CommandContext(t.Context(), path, "demo")
	cmd.Stdout, cmd.Stderr = full, &complaints
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v, want exit code %d", err, exitFailed)
	}
	if !strings.Contains(complaints.String(), "tell the story") {
		t.Errorf("complaints: %s", complaints.String())
	}
}

// TestDemoManyOrders also shows that the child was killed: the signal is what its
// wait status says.
func TestDemoManyOrders(t *testing.T) {
	t.Parallel()
	r := execute(t, "demo", "--orders", "200", "--seed", "1", "-o", "json")
	r.want(t, exitDone)
	var sum demo.Summary
	r.decode(t, &sum)
	if !sum.OK || sum.Killed == nil || sum.Killed.Signal != "SIGKILL" || sum.Killed.PID == 0 {
		t.Errorf("%+v", sum)
	}
	l := sum.Load
	if l == nil {
		t.Fatal("nothing about the orders")
	}
	ended := l.Committed
	for reason, n := range l.RolledBack {
		if reason == "" {
			t.Error("a rollback without a reason")
		}
		ended += n
	}
	if ended != 200 || l.Committed == 0 || l.RolledBack["vote_abort by inventory"] == 0 || l.RolledBack["vote_abort by payment"] == 0 {
		t.Errorf("%d orders ended: %+v", ended, l)
	}
	if l.Lost == 0 || l.Retries == 0 || l.Recovered == 0 || l.Died != 1 || l.Seed != 1 {
		t.Errorf("too little went wrong: %+v", l)
	}
	if len(sum.Invariant) != 5 {
		t.Errorf("%+v", sum.Invariant)
	}
}

func TestDemoAgainInTheSameDirectory(t *testing.T) {
	t.Parallel()
	first, _ := kept(t)
	dir := copyDir(t, first)
	execute(t, "demo", "--data", dir, "--orders", "10").want(t, exitDone, "Alice has 3 orders", "order-1005", "OK: ")
}

// TestDemoFindsATornOrder breaks a database, to see that the check is one.
func TestDemoFindsATornOrder(t *testing.T) {
	t.Parallel()
	first, _ := kept(t)
	dir := copyDir(t, first)
	db, err := sql.Open("sqlite", filepath.Join(dir, "payment.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("DELETE FROM charge WHERE order_id = 'order-1003'"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := execute(t, "demo", "--data", dir)
	r.want(t, exitFailed, "FAIL", "order-1003 is in inventory.db orders.db only", "the invariant does not hold")
	if strings.Contains(r.out, "OK: ") {
		t.Errorf("it says OK too:\n%s", r.out)
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Open(filepath.Join(dir, demo.LogDir), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	execute(t, "demo", "--data", dir).want(t, exitInUse, "in use by process "+fmt.Sprint(os.Getpid()))
}
