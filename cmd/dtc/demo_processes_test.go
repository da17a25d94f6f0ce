package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
)

// pids are the processes that a story names.
func pids(t *testing.T, story string) (all []int) {
	t.Helper()
	for _, found := range regexp.MustCompile(`\bpid (\d+)`).FindAllStringSubmatch(story, -1) {
		pid, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// alive reports whether a process runs. One that has ended and waits for somebody to
// ask how does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// wantGone waits until none of the processes runs.
func wantGone(t *testing.T, pids []int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// wantInOrder fails unless out has the texts one after the other.
func wantInOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("it does not say %q after what comes before:\n%s", text, out)
		}
		rest = after
	}
}

func TestDemoProcesses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "shop")
	r := execute(t, "demo", "--processes", "--data", dir)
	r.want(t, exitDone)
	wantInOrder(t, r.out,
		"inventory    pid ", "payment      pid ", "orders       pid ", "coordinator  pid ",
		"1  An order commits", "→ prepare", "vote_commit", "vote_commit", "vote_commit",
		"DECISION     commit", "→ commit", "committed  ", "committed  ", "committed  ",
		"caller       is told      committed", "8 keyboards", "1 order",
		"2  An order is out of stock", "→ prepare", "vote_commit", "vote_commit",
		"inventory    vote_abort   out of stock", "DECISION     roll back", "→ rollback", "rolled back", "rolled back",
		"caller       is told      rolled back (vote_abort by inventory)", "8 keyboards", "1 order",
		"3  A service is killed", "all three    vote_commit", "DECISION     commit", "→ commit",
	)
	_, third, _ := strings.Cut(r.out, "\n3  ")
	wantInOrder(t, third, "payment      SIGKILL", "no answer", "connection refused", "75.00 on hold",
		"payment      IS BACK", "payment      committed", "Alice's 875.00", "2 orders",
		"4  The coordinator is killed", "all three    vote_commit", "DECISION     commit", "SIGKILL      pid ",
		"inventory.db prepared", "payment.db   prepared", "orders.db    prepared", "log/         commit",
		"RESTART", "→ commit", "committed  ", "committed  ", "committed  ", "caller       asks again", "3 orders",
		"ok   orders    3 in inventory.db, 3 in payment.db, 3 in orders.db", "ok   stock", "ok   money", "ok   prepared", "ok   answers",
		"OK: every order is in all three databases or in none")
	if !strings.Contains(third, "caller       is told      committed") {
		t.Errorf("who ordered was not told while payment was dead:\n%s", third)
	}
	if r.err != "" {
		t.Errorf("complaints: %s", r.err)
	}
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) > 95 {
		t.Errorf("%d lines: too long for a person", len(lines))
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 100 && !strings.Contains(line, dir) {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	// Three services, one of them twice, and the coordinator that was killed.
	if all := pids(t, r.out); len(all) != 5 {
		t.Errorf("it names the processes %v", all)
	} else {
		wantGone(t, all)
	}
	execute(t, "log", "verify", "--data", dir).want(t, exitDone)

	t.Run("Again", func(t *testing.T) {
		execute(t, "demo", "--processes", "--data", dir).want(t, exitDone, "Alice has 3 orders", "order-1008", "OK: ")
	})
	t.Run("TornOrder", func(t *testing.T) {
		db, err := sql.Open("sqlite", filepath.Join(dir, "payment.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("DELETE FROM charge WHERE order_id = 'order-1003'"); err != nil {
			t.Fatal(err)
		}
		r := execute(t, "demo", "--processes", "--data", dir)
		r.want(t, exitFailed, "FAIL", "order-1003 is in inventory.db orders.db only", "the invariant does not hold")
		wantGone(t, pids(t, r.out))
	})
}

// TestDemoProcessesManyOrders: what goes wrong, and how each order ends, is a matter
// of the seed alone.
func TestDemoProcessesManyOrders(t *testing.T) {
	t.Parallel()
	var loads [2]demo.Load
	for i := range loads {
		r := execute(t, "demo", "--processes", "--orders", "50", "--seed", "3", "-o", "json")
		r.want(t, exitDone)
		var sum demo.Summary
		r.decode(t, &sum)
		if !sum.OK || sum.Killed == nil || sum.Killed.Signal != "SIGKILL" || alive(sum.Killed.PID) || len(sum.Invariant) != 5 {
			t.Errorf("%+v", sum)
		}
		l := *sum.Load
		ended := l.Committed
		for _, n := range l.RolledBack {
			ended += n
		}
		if ended != 50 || l.Committed == 0 || len(l.RolledBack) != 2 ||
			l.RolledBack["vote_abort by inventory"] == 0 || l.RolledBack["vote_abort by payment"] == 0 {
			t.Errorf("%d orders ended: %+v", ended, l)
		}
		if l.Lost == 0 || l.Late == 0 || l.Twice == 0 || l.Retries == 0 || l.Recovered == 0 || l.Died != 1 {
			t.Errorf("too little went wrong: %+v", l)
		}
		l.Took, l.Retries, l.Recovered = 0, 0, 0
		loads[i] = l
	}
	if !reflect.DeepEqual(loads[0], loads[1]) {
		t.Errorf("one seed, two summaries:\n%+v\n%+v", loads[0], loads[1])
	}
}

// TestDemoProcessesCutShort: whatever ends the demo ends its processes.
func TestDemoProcessesCutShort(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			cmd := exec.CommandContext(t.Context(), path, "demo", "--processes", "--orders", "20000")
			cmd.Env = append(os.Environ(), "TMPDIR="+temp)
			// Should it leave processes, they are of this group.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var complaints strings.Builder
			cmd.Stderr = &complaints
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
			story := ""
			for lines := bufio.NewScanner(out); !strings.Contains(story, "payment is killed at half time") && lines.Scan(); {
				story += lines.Text() + "\n"
			}
			all := pids(t, story)
			if len(all) < 5 || !slices.ContainsFunc(all, alive) {
				t.Errorf("the processes %v do not run:\n%s", all, story)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // what it says is looked at below
			wantGone(t, all)
			if sig == syscall.SIGKILL {
				return // nobody was left to say anything, or to remove anything
			}
			if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(complaints.String(), "interrupted") {
				t.Errorf("exit code %d, complaints: %s", code, complaints.String())
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("it left %v %v", left, err)
			}
		})
	}
}
