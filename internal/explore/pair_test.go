package explore

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/tally"
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
			t.Log(res)
			tally.Add(t, "explorer", "states of "+w.name(), int64(res.States), w.least)
			switch {
			case res.Violated != "":
				t.Fatal(res.Story())
			case !res.Complete || res.Healed < res.States:
				t.Fatalf("%d of %d states were seen to come to rest", res.Healed, res.States)
			case w.least == 0 || slices.Contains(w.sees(&res.Seen), 0):
				t.Fatalf("what the world is for was not seen: %+v", res.Seen)
			}
		})
	}
}

// TestSoakPairs walks larger ones, each whole, until the time is over.
func TestSoakPairs(t *testing.T) {
	if soak() == 0 {
		t.Skip("DTC_SOAK_HOURS and DTC_SOAK_SECONDS are not set")
	}
	end := time.Now().Add(soak())
	for i, r := range soakPairs {
		if time.Now().After(end) {
			t.Logf("the time is over; the first of %d worlds not walked: %v", len(soakPairs)-i, &r)
			return
		}
		t.Run(r.name(), func(t *testing.T) {
			res := explorePair(&r, maxStates, end, func(_, _ *pair) {})
			t.Log(res)
			if res.Violated != "" {
				t.Fatal(res.Story())
			}
			if !res.Complete {
				t.Logf("cut after %d states", res.States)
			}
		})
	}
}

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
	keyOf := func(w *pair) sum { return hash(w.key(&keyed, nil)) }
	classes := map[sum]sum{} // to the sum of what comes next
	var from *pair
	var me sum
	var next []sum
	note := func() {
		slices.SortFunc(next, compareSums)
		all := []byte{}
		for _, k := range slices.Compact(next) {
			all = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(all, k.hi), k.lo)
		}
		if before, ok := classes[me]; ok && before != hash(all) {
			t.Fatalf("two worlds with the key of %+v can do different things", *from)
		}
		classes[me] = hash(all)
	}
	res := explorePair(r, maxStates, time.Time{}, func(w, to *pair) {
		if w != from {
			if from != nil {
				note()
			}
			from, me, next = w, keyOf(w), next[:0]
		}
		if k := keyOf(to); k != me {
			next = append(next, k)
		}
	})
	note() // of the last state
	t.Logf("%d states have %d keys", res.States, len(classes))
	if res.Violated != "" || !res.Complete || len(classes) >= res.States {
		t.Errorf("%v: no two states have the same key, or the walk is not whole", res)
	}
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
				for o := range observePair(t, w.PairRules, off) {
					if !whole[o] {
						t.Fatalf("without %v there is %+v, which is invented", off, o)
					}
				}
			}
			for _, off := range []reduction{oblivion, listingNow, 0} {
				seen := observePair(t, w.PairRules, off)
				for o := range whole {
					if !seen[o] {
						t.Fatalf("without %v there is no %+v", off, o)
					}
				}
			}
		})
	}
}

func observePair(t *testing.T, r PairRules, off reduction) map[seenPair]bool {
	t.Helper()
	r.Without = off
	all := map[seenPair]bool{}
	res := explorePair(&r, maxStates, time.Time{}, func(_, w *pair) {
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
	})
	if res.Violated != "" || !res.Complete {
		t.Fatal(res.Story())
	}
	t.Logf("without %v: %d states, %d observations", off, res.States, len(all))
	return all
}

// TestPairSentences: every move of a world of two has words for a trace.
func TestPairSentences(t *testing.T) {
	for what := request; what <= release; what++ {
		if (pairMove{what: what}).words() == "" {
			t.Errorf("move %d has no words", what)
		}
	}
}
