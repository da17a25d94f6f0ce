package explore

import (
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// pairWorld is a world of two, how many states it has, and what must be seen in it.
type pairWorld struct {
	PairRules
	least int64
	sees  func(n *Sights) []int
}

func lowWaterSights(n *Sights) []int {
	return []int{n.BothLive, n.Refused, n.Passed, n.Orphans}
}

func sameIDSights(n *Sights) []int {
	return []int{n.Refused, n.Orphans, n.Rerun, n.CommittedAfter}
}

func holdSights(n *Sights) []int {
	return []int{n.BothLive, n.Refused, n.Orphans, n.Held, n.Parked, n.Untold, n.Released}
}

// smallPairs are walked under the race detector, and for every planted bug.
var smallPairs = []pairWorld{
	{PairRules{At: [2]uint8{1, 1}, Crashes: 1}, 12_140, lowWaterSights},
	{PairRules{At: [2]uint8{1, 1}, Crashes: 1, SameID: true}, 1_244, sameIDSights},
	{PairRules{At: [2]uint8{1, 1}, Crashes: 1, Restores: 1}, 21_546, holdSights},
}

// soakPairs are larger ones.
var soakPairs = []PairRules{
	{At: [2]uint8{1, 1}, Crashes: 4},
	{At: [2]uint8{1, 1}, Crashes: 3, Restores: 2},
	{At: [2]uint8{2, 1}, Crashes: 2},
	{At: [2]uint8{1, 2}, Crashes: 2, Restores: 1},
	{At: [2]uint8{2, 1}, Crashes: 2, Restores: 1},
	{At: [2]uint8{2, 2}, Crashes: 2, SameID: true},
	{At: [2]uint8{2, 2}, Crashes: 1, Restores: 1},
	{At: [2]uint8{2, 2}, Crashes: 2},
}

// TestPairs walks every state of the worlds of two of an ordinary run.
func TestPairs(t *testing.T) {
	for _, w := range pairs {
		t.Run(w.name(), func(t *testing.T) {
			t.Parallel()
			res := ExplorePair(&w.PairRules, maxStates)
			mustHold(t, &w.PairRules, res, w.least, w.sees(&res.Seen))
		})
	}
}

// TestSoakPairs walks larger ones.
func TestSoakPairs(t *testing.T) { soakAll(t, soakPairs) }

// TestHoldIsNeeded: where nothing is held after a restore, a transaction of which the
// copy knows less is rolled back at one participant and committed at another; a client
// is told both; the sweep rolls back what it must not. With the hold, TestPairs finds
// none of this.
func TestHoldIsNeeded(t *testing.T) {
	for _, invariant := range []string{"I1", "I4", "I14"} {
		r := PairRules{At: [2]uint8{2, 1}, Crashes: 1, Restores: 1, NoHold: true, only: invariant}
		res := ExplorePair(&r, maxStates)
		if res.Violated != invariant || len(res.Trace) == 0 {
			t.Errorf("%v breaks %q, want %s", res, res.Violated, invariant)
		}
		t.Log(res.Story())
	}
}

// TestPairKeyIsExact: what may happen in a world of two is a function of its key, as
// in TestKeyIsExact.
func TestPairKeyIsExact(t *testing.T) {
	for _, w := range plainPairs {
		for _, off := range []reduction{oblivion, oblivion | listingNow} {
			t.Run(w.name()+"/without "+off.String(), func(t *testing.T) {
				t.Parallel()
				r := w.PairRules
				r.Without = off
				pairKeyIsExact(t, &r)
			})
		}
	}
}

func pairKeyIsExact(t *testing.T, r *PairRules) {
	t.Helper()
	keyed := *r
	keyed.Without &^= oblivion
	key := func(w *pair, dst []byte) []byte { return w.key(&keyed, dst) }
	keyIsExact(t, key, func(as watch[pair, pairMove]) *Walk { return &wholePair(t, *r, r.Without, as).Walk })
}

// wholePair walks a world of two whole, with some reductions switched off.
func wholePair(t *testing.T, r PairRules, off reduction, as watch[pair, pairMove]) *PairResult {
	t.Helper()
	r.Without = off
	res := explorePair(&r, maxStates, time.Time{}, as)
	if res.Violated != "" || !res.Complete {
		t.Fatalf("%v: %s", &r, res.Story())
	}
	return res
}

// seenPair is what the checks, the clients, the participants and the log see of a
// world of two.
type seenPair [2]struct {
	begun, live, parked, decided bool
	told                         protocol.Outcome
	state                        protocol.State
	log, durable                 records
	row                          [2]row
	below                        [2]bool
}

// TestPairReductionsHideNothing: with each reduction, and with both, the same is seen
// as without, but for rows that nobody asks for.
func TestPairReductionsHideNothing(t *testing.T) {
	for _, w := range plainPairs {
		t.Run(w.name(), func(t *testing.T) {
			t.Parallel()
			whole := observePair(t, w.PairRules, oblivion|listingNow)
			for _, off := range []reduction{oblivion, listingNow, 0} {
				compare(t, "without "+off.String(), whole, observePair(t, w.PairRules, off))
			}
		})
	}
}

func observePair(t *testing.T, r PairRules, off reduction) map[seenPair]bool {
	t.Helper()
	all := map[seenPair]bool{}
	see := func(w *pair) {
		var o seenPair
		for i := range w.run {
			run, at := &w.run[i], &o[i]
			at.begun, at.live, at.parked, at.decided = run.begun, run.tx != nil, run.parked, run.decided
			at.told, at.log, at.durable = run.told, w.says(i), w.saysDurably(i)
			if run.tx != nil {
				at.state = run.tx.State()
			}
			for p := range r.At[i] {
				at.row[p], at.below[p] = run.part[p].row, w.below(i, int(p))
				if at.below[p] && at.row[p] != prepared && w.over(&r, i) {
					at.row[p] = none
				}
			}
		}
		all[o] = true
	}
	res := wholePair(t, r, off, watch[pair, pairMove]{state: see, step: func(_, to *pair, _ pairMove) { see(to) }})
	t.Logf("without %v: %d states, %d observations", off, res.States, len(all))
	return all
}

// TestPairSentences: every move of a world of two has words for a trace.
func TestPairSentences(t *testing.T) {
	mustSpeak(t, release, func(what pairWhat) string { return pairMove{what: what}.words() })
}
