package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
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

// TestDemoThatNobodyHears: a story or a summary that could not be written is no
// success.
func TestDemoThatNobodyHears(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	full := func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) }
	gone := func() (*os.File, error) {
		r, w, err := os.Pipe()
		if err == nil {
			err = r.Close()
		}
		return w, err
	}
	for _, test := range []struct {
		name string
		open func() (*os.File, error)
		args []string
		want string // on the standard error
	}{
		{"Full", full, []string{"demo"}, "tell the story"},
		{"FullForPrograms", full, []string{"demo", "-o", "json"}, "no space left"},
		{"Gone", gone, []string{"demo"}, "dtc: "},
		{"FullForProcesses", full, []string{"demo", "--processes"}, "tell the story"},
		{"GoneForProcesses", gone, []string{"demo", "--processes"}, "dtc: "},
		{"GoneForPrograms", gone, []string{"demo", "-o", "json"}, "dtc: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, err := test.open()
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			var complaints strings.Builder
			cmd := exec.CommandContext(t.Context(), path, test.args...)
			cmd.Stdout, cmd.Stderr = out, &complaints
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed {
				t.Errorf("%v, want exit code %d", err, exitFailed)
			}
			if !strings.Contains(complaints.String(), test.want) {
				t.Errorf("complaints: %s", complaints.String())
			}
		})
	}
}

// TestDemoManyOrders also shows that the child was killed: the signal is what its
// wait status says.
func TestDemoManyOrders(t *testing.T) {
	t.Parallel()
	r := execute(t, "demo", "--orders", "100", "--seed", "1", "-o", "json")
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
	if ended != 100 || l.Committed == 0 || l.RolledBack["vote_abort by inventory"] == 0 || l.RolledBack["vote_abort by payment"] == 0 ||
		l.RolledBack["cancelled by its caller: payment does not answer"] == 0 {
		t.Errorf("%d orders ended: %+v", ended, l)
	}
	if l.Lost == 0 || l.Retries == 0 || l.Recovered == 0 || l.Died != 1 || l.Seed != 1 {
		t.Errorf("too little went wrong: %+v", l)
	}
	if len(sum.Invariant) != 5 {
		t.Errorf("%+v", sum.Invariant)
	}
}

// crowdOf runs the demo with many orders, and returns what became of them: the
// numbers that the seed decides, what was ordered and bought, and why the rest was
// not.
func crowdOf(t *testing.T, seed string) (demo.Load, []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	r := execute(t, "demo", "--orders", "60", "--seed", seed, "--data", dir, "-o", "json")
	r.want(t, exitDone)
	var sum demo.Summary
	r.decode(t, &sum)
	load := *sum.Load
	load.Took, load.Retries, load.Recovered, load.Seed = 0, 0, 0, 0

	var fates []string
	db, err := sql.Open("sqlite", filepath.Join(dir, "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT order_id || ': ' || customer || ' bought ' || quantity || ' ' || item FROM customer_order")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		fates = append(fates, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	dump := execute(t, "log", "dump", "--data", dir, "-o", "json")
	dump.want(t, exitDone)
	for line := range strings.Lines(dump.out) {
		var l dumpLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "abort" {
			fates = append(fates, fmt.Sprintf("%s: %s %s", l.Tx, l.Reason, l.Participant))
		}
	}
	slices.Sort(fates)
	return load, fates
}

// TestDemoSeed: the same seed gives the same orders, faults and ends, at once or one
// after the other, and another seed others.
func TestDemoSeed(t *testing.T) {
	t.Parallel()
	const runs = 3
	var loads [runs]demo.Load
	var fates [runs][]string
	t.Run("Run", func(t *testing.T) {
		for i, seed := range [runs]string{"5", "5", "6"} {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				loads[i], fates[i] = crowdOf(t, seed)
			})
		}
	})
	if t.Failed() {
		return
	}
	if !reflect.DeepEqual(loads[0], loads[1]) {
		t.Errorf("one seed, two summaries:\n%+v\n%+v", loads[0], loads[1])
	}
	for i := range fates[0] {
		if a, b := fates[0][i], at(fates[1], i); a != b {
			t.Fatalf("one seed, two ends: %s, %s", a, b)
		}
	}
	if len(fates[0]) < 60 || len(fates[1]) != len(fates[0]) {
		t.Errorf("%d and %d orders ended", len(fates[0]), len(fates[1]))
	}
	if reflect.DeepEqual(fates[0], fates[2]) || reflect.DeepEqual(loads[0], loads[2]) {
		t.Error("two seeds, one end")
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
