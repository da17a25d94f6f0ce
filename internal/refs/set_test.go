package refs_test

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/dtc-project/dtc/internal/refs"
	"github.com/dtc-project/dtc/txlog"
)

// TestAgainstModel compares the set with a map over random histories: in order, out
// of order as when transactions overtake each other, at random, and in runs.
func TestAgainstModel(t *testing.T) {
	for seed := range int64(300) {
		rng := rand.New(rand.NewSource(seed))
		var set refs.Set
		model := map[txlog.Ref]bool{}
		next := uint64(1)
		for range 400 {
			inc := uint32(1 + rng.Intn(2))
			run := txlog.Run{}
			switch rng.Intn(4) {
			case 0:
				run.First, next = next, next+1
				run.Last = run.First
			case 1:
				run.First = next - min(next, uint64(rng.Intn(9)))
				run.Last = run.First
			case 2:
				run.First = uint64(rng.Intn(500))
				run.Last = run.First + uint64(rng.Intn(40))
			case 3:
				next += uint64(rng.Intn(3))
				run.First, run.Last = next, next
			}
			set.AddRun(inc, run)
			for seq := run.First; seq <= run.Last; seq++ {
				model[txlog.Ref{Incarnation: inc, Seq: seq}] = true
			}
		}
		for inc := range uint32(4) {
			for seq := range next + 600 {
				if r := (txlog.Ref{Incarnation: inc, Seq: seq}); set.Has(r) != model[r] {
					t.Fatalf("seed %d: has %v: %v", seed, r, set.Has(r))
				}
			}
		}
		var total uint64
		last := uint32(0)
		for inc, runs := range set.Runs() {
			if inc <= last {
				t.Fatalf("seed %d: incarnation %d behind %d", seed, inc, last)
			}
			last = inc
			for i, run := range runs {
				if run.Last < run.First || i > 0 && run.First < runs[i-1].Last+2 {
					t.Fatalf("seed %d: runs %v", seed, runs)
				}
				total += run.Last - run.First + 1
			}
		}
		if total != uint64(len(model)) {
			t.Fatalf("seed %d: the runs hold %d, want %d", seed, total, len(model))
		}
	}
}

// TestEdges: the greatest sequences do not wrap around.
func TestEdges(t *testing.T) {
	const top = 1<<64 - 1
	var set refs.Set
	for _, seq := range []uint64{top, 0, top - 1, 1, top - 3} {
		set.Add(txlog.Ref{Incarnation: 1, Seq: seq})
	}
	for _, runs := range set.Runs() {
		if want := []txlog.Run{{First: 0, Last: 1}, {First: top - 3, Last: top - 3}, {First: top - 1, Last: top}}; !slices.Equal(runs, want) {
			t.Errorf("%v, want %v", runs, want)
		}
	}
}

func TestStopping(t *testing.T) {
	var set refs.Set
	set.Add(txlog.Ref{Incarnation: 1, Seq: 1})
	set.Add(txlog.Ref{Incarnation: 2, Seq: 1})
	n := 0
	for range set.Runs() {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d rounds after a break", n)
	}
}
