package sim

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func number(t *testing.T, name string, otherwise uint64) uint64 {
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

func TestSeeds(t *testing.T) {
	defer Still()()
	from, n := number(t, "DTC_SEED_FROM", 1), number(t, "DTC_SEEDS", 300)
	var all Counts
	began := time.Now()
	for seed := from; seed < from+n; seed++ {
		r := Run(t, seed, Options{})
		all.add(&r.Counts)
		if r.Violated != "" {
			fail(t, r)
		}
	}
	took := time.Since(began).Seconds()
	t.Logf("%d seeds in %.1f s: %+v; %.0f transactions and %.0f virtual seconds a second", n, took, all, float64(all.Transactions)/took, all.Virtual.Seconds()/took)
}

func fail(t *testing.T, r *Result) {
	t.Helper()
	t.Errorf("seed %d (%s): %s: %s\nreplay: DTC_SEED=%d go test ./internal/sim -run TestSeed$ -v",
		r.Seed, strings.Join(r.Faults.Names(), " "), r.Violated, r.Why, r.Seed)
}

// TestSeed replays the seed in DTC_SEED, and prints what happened.
func TestSeed(t *testing.T) {
	r := Run(t, number(t, "DTC_SEED", 1), Options{Trace: true})
	for _, line := range r.Trace {
		t.Log(line)
	}
	if r.Violated != "" {
		fail(t, r)
	}
}

func TestDeterministic(t *testing.T) {
	defer Still()()
	n := number(t, "DTC_SEEDS", 100)
	differ := 0
	for seed := uint64(1); seed <= n; seed++ {
		a, b := Run(t, seed, Options{Trace: true}), Run(t, seed, Options{Trace: true})
		if a.Hash == b.Hash {
			continue
		}
		differ++
		for i := range a.Trace {
			if i >= len(b.Trace) || a.Trace[i] != b.Trace[i] {
				from := max(0, i-8)
				t.Errorf("seed %d differs at line %d:\n%s\n--\n%s", seed, i,
					strings.Join(a.Trace[from:min(i+3, len(a.Trace))], "\n"), strings.Join(b.Trace[from:min(i+3, len(b.Trace))], "\n"))
				break
			}
		}
		if differ > 3 {
			break
		}
	}
}
