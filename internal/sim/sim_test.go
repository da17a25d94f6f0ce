package sim

import (
	"flag"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
)

var (
	seedFlag    = flag.String("seed", os.Getenv("DTC_SEED"), "run this seed alone, and print what happens")
	withoutFlag = flag.String("without", os.Getenv("DTC_WITHOUT"), "classes of faults to leave out, separated by commas")
)

// setting returns the number in an environment variable.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func options(t *testing.T) (o Options) {
	t.Helper()
	var err error
	if o.Without, err = ParseFaults(*withoutFlag); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestSeeds runs DTC_SEEDS seeds from DTC_SEED_FROM on, or one alone: see the package
// comment.
func TestSeeds(t *testing.T) {
	defer Still()()
	o := options(t)
	if *seedFlag != "" {
		seed, err := strconv.ParseUint(*seedFlag, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		replay(t, seed, o)
		return
	}
	from, n := setting(t, "DTC_SEED_FROM", 1), setting(t, "DTC_SEEDS", 300)
	var all Counts
	began, failed := time.Now(), 0
	for seed := from; seed < from+n && failed < 3; seed++ {
		r := Run(t, seed, o)
		all.add(&r.Counts)
		if r.Violated != "" {
			failed++
			replay(t, seed, o)
		}
	}
	took := time.Since(began).Seconds()
	t.Logf("%.0f transactions, %.0f events and %.0f virtual seconds in each second", float64(all.Transactions)/took, float64(all.Events)/took, all.Virtual.Seconds()/took)
	count(t, n, &all)
}

// replay runs one seed, and prints the run if something did not hold.
func replay(t *testing.T, seed uint64, o Options) {
	t.Helper()
	o.Trace = true
	r := Run(t, seed, o)
	if r.Violated == "" && *seedFlag == "" {
		t.Errorf("seed %d failed, and does not when it is run again", seed)
		return
	}
	t.Log(strings.Join(r.Trace, "\n"))
	t.Logf("seed %d, with %s: hash %016x, %+v", seed, strings.Join(r.Faults.Names(), " "), r.Hash, r.Counts)
	if r.Violated != "" {
		without := ""
		if *withoutFlag != "" {
			without = " -without='" + *withoutFlag + "'"
		}
		t.Errorf("%s does not hold: %s\nreplay: go test ./internal/sim -run 'TestSeeds$' -v -seed=%d%s", r.Violated, r.Why, seed, without)
	}
}

// count prints what was done, and fails if that is too little for so many seeds.
func count(t *testing.T, n uint64, c *Counts) {
	t.Helper()
	least := func(per100 int64) int64 { return int64(n) / 100 * per100 }
	if *withoutFlag != "" {
		least = func(int64) int64 { return 0 }
	}
	for _, row := range []struct {
		what   string
		n      int
		per100 int64
	}{
		{"seeds", int(n), 100},
		{"transactions", c.Transactions, 700},
		{"events", c.Events, 60_000},
		{"answers committed", c.Committed, 700},
		{"answers rolled back", c.RolledBack, 500},
		{"commits told while something was broken", c.ToldUnderFault, 30},
		{"crashes of the coordinator", c.Crashes, 80},
		{"power losses", c.PowerLosses, 30},
		{"crashes while it was opened", c.RecoveryKilled, 20},
		{"torn tails of the log", c.TornTails, 1},
		{"crashes of participants", c.ParticipantCrashes, 30},
		{"lost messages", c.Lost, 250},
		{"repeated messages", c.Repeated, 200},
		{"late messages", c.Late, 300},
		{"partitions", c.Partitions, 30},
		{"virtual seconds", int(c.Virtual.Seconds()), 1000},
	} {
		tally.Add(t, "simulator", row.what, int64(row.n), least(row.per100))
	}
}

// TestDeterministic runs seeds twice: a seed is one run. Under the race detector the
// Go scheduler makes its choices at random, so it is not looked for there. A machine that
// leaves the process without a processor for ten milliseconds has the scheduler let another
// goroutine go first, too: that is a matter of luck, so a difference must be had twice.
func TestDeterministic(t *testing.T) {
	if raceEnabled {
		t.Log("under the race detector nothing is the same twice")
		return
	}
	defer Still()()
	n := setting(t, "DTC_SEEDS", 300) / 3
	const unlucky = 2
	once := 0
	for seed := range upTo(n, 543) {
		differ := func() string {
			return difference(Run(t, seed, Options{Trace: true}), Run(t, seed, Options{Trace: true}))
		}
		if differ() == "" {
			continue
		}
		once++
		if how := differ(); how != "" || once > unlucky {
			t.Fatalf("seed %d is two runs, and %d seeds were so once: %s", seed, once, how)
		}
	}
	tally.Add(t, "simulator", "seeds that were run twice and were the same", int64(n), 1)
}

// difference returns where two runs differ, or nothing.
func difference(a, b *Result) string {
	if a.Hash == b.Hash {
		return ""
	}
	for i := range a.Trace {
		if i >= len(b.Trace) || a.Trace[i] != b.Trace[i] {
			from := max(0, i-8)
			return fmt.Sprintf("they differ at line %d:\n%s\n--\n%s", i,
				strings.Join(a.Trace[from:min(i+3, len(a.Trace))], "\n"), strings.Join(b.Trace[from:min(i+3, len(b.Trace))], "\n"))
		}
	}
	return "one goes on after the other has ended"
}

// upTo yields the seeds from 1 to n, and one that was two runs once: timers of one
// instant rang in any order.
func upTo(n, once uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for seed := uint64(1); seed <= n; seed++ {
			if !yield(seed) {
				return
			}
		}
		for range 4 {
			if once > n && !yield(once) {
				return
			}
		}
	}
}
