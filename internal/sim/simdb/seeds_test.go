package simdb_test

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc/internal/tally"
)

var (
	firstSeed = flag.Uint64("simdb.seed", 1, "the first seed")
	seeds     = flag.Int("simdb.seeds", ordinary, "how many seeds are run")
)

// The guard keeps its guarantees under whatever copies of calls, crashes and lost
// answers a seed makes up. What fails is had again with
//
//	go test ./internal/sim/simdb -run TestGuardSeeds -simdb.seed N -simdb.seeds 1
func TestGuardSeeds(t *testing.T) {
	var total counts
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		h := playInBubble(t, seed)
		total.add(h.counts)
		if h.o.violated != "" {
			t.Fatalf("seed %d, %+v: %s\n%s", seed, h.faults, h.o.violated, strings.Join(h.trace, "\n"))
		}
	}
	n := int64(*seeds)
	tally.Add(t, "guard seeds", "histories", n, 1)
	for _, c := range []struct {
		what  string
		n     int64
		least int64 // per 100 seeds
	}{
		{"calls", total.calls, 1000},
		{"commit or read-only votes", total.votes, 100},
		{"effects", total.effects, 50},
		{"crashes of the database", total.crashes, 30},
		{"killed processes", total.kills, 30},
		{"cut connections", total.cuts, 30},
		{"late requests", total.late, 30},
		{"waits for another transaction", total.woken, 100},
		{"calls that ran out of time", total.timeouts, 10},
		{"deadlocks", total.deadlocks, 5},
		{"rows dropped", total.pruned, 20},
		{"late prepares refused", total.refusedLate, 50},
	} {
		tally.Add(t, "guard seeds", c.what, c.n, c.least*(n/100))
	}
}

func playInBubble(t *testing.T, seed uint64) (h *history) {
	synctest.Test(t, func(t *testing.T) { h = play(t, seed) })
	return h
}

// One seed is one history, whatever the Go scheduler does.
func TestGuardSeedsCanBeHadAgain(t *testing.T) {
	for seed := uint64(1); seed <= 100; seed++ {
		one, two := playInBubble(t, seed).trace, playInBubble(t, seed).trace
		if slices.Equal(one, two) {
			continue
		}
		for i := range min(len(one), len(two)) {
			if one[i] != two[i] {
				t.Fatalf("seed %d, line %d: %q, then %q", seed, i, one[i], two[i])
			}
		}
		t.Fatalf("seed %d: %d lines, then %d", seed, len(one), len(two))
	}
}
