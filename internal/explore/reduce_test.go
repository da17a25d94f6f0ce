package explore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// without walks a world whole, with some reductions switched off.
func without(t *testing.T, r Rules, off reduction, as watch[world, move]) *Result {
	t.Helper()
	r.Without = off
	res := explore(&r, maxStates, time.Time{}, as)
	if res.Violated != "" || !res.Complete {
		t.Fatalf("%v: %s", &r, res.Story())
	}
	return res
}

// observation is what the checks, the clients and the log see of a world.
type observation struct {
	atRest, begun, replaying, poisoned, decided bool
	told                                        protocol.Outcome
	synced                                      records
	tail                                        [4]record
	state                                       protocol.State // of a live transaction
	branches                                    [maxBranches]seenBranch
}

type seenBranch struct {
	kind                          Kind
	prepared, committed, readOnly bool
	prepare, finish               call
	live, voted, done             bool
	vote                          protocol.Vote
}

func (a seenBranch) compare(b seenBranch) int {
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// observations are those of each state, and of where worlds left in peace come to
// rest.
type observations map[observation]bool

func (o observations) see(r *Rules, w *world, atRest bool) {
	seen := observation{
		atRest: atRest, begun: w.begun, replaying: w.replaying, poisoned: w.poisoned,
		decided: w.decided, told: w.told, synced: w.synced, tail: w.tail,
	}
	if w.tx != nil {
		seen.state = w.tx.State()
	}
	for i, kind := range r.Kinds {
		b := &w.branch[i]
		at := seenBranch{
			kind: kind, prepared: b.row == prepared, committed: b.committed, readOnly: b.readOnly,
			prepare: b.prepare, finish: b.finish,
		}
		if w.tx != nil {
			at.live, at.done = true, w.tx.Done(i)
			at.vote, at.voted = w.tx.Vote(i)
		}
		seen.branches[i] = at
	}
	if n := len(r.Kinds); !o[seen] {
		slices.SortFunc(seen.branches[:n], seenBranch.compare)
		o[seen] = true
	}
}

func observe(t *testing.T, r *Rules, off reduction) (observations, *Result) {
	t.Helper()
	o := observations{}
	res := without(t, *r, off, watch[world, move]{
		state: func(w *world) { o.see(r, w, false) },
		rest:  func(w *world) { o.see(r, w, true) },
	})
	return o, res
}

// TestReductionsHideNothing: with each reduction by itself, and with all of them,
// exactly the same is seen as without any.
func TestReductionsHideNothing(t *testing.T) {
	for i := range plainWorlds {
		t.Run(plainWorlds[i].name(), func(t *testing.T) {
			t.Parallel()
			whole, res := observe(t, &plainWorlds[i], allReductions)
			t.Logf("no reduction: %d states, %d observations", res.States, len(whole))
			for _, with := range append(eachReduction(), allReductions) {
				seen, res := observe(t, &plainWorlds[i], allReductions&^with)
				t.Logf("%v: %d states", with, res.States)
				compare(t, with.String(), whole, seen)
			}
		})
	}
}

// eachReduction returns the reductions, one by one.
func eachReduction() (each []reduction) {
	for by := interchange; by <= listingNow; by <<= 1 {
		each = append(each, by)
	}
	return each
}

// TestKeyIsExact: all worlds that have the same key can do the same. For every
// state of a world walked without the two reductions of the key, the keys of what
// may come next depend on nothing but its own key. Where nothing is done at once
// more messages are under way, so small worlds are walked in that way too.
func TestKeyIsExact(t *testing.T) {
	for _, r := range keyWorlds {
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			worldKeyIsExact(t, &r, interchange|oblivion)
		})
	}
	for _, r := range plainWorlds {
		t.Run("nothing at once/"+r.name(), func(t *testing.T) {
			t.Parallel()
			worldKeyIsExact(t, &r, allReductions)
		})
	}
}

func worldKeyIsExact(t *testing.T, r *Rules, off reduction) {
	t.Helper()
	keyed := *r
	keyed.Without = off &^ (interchange | oblivion)
	key := func(w *world, dst []byte) []byte { return w.key(&keyed, dst) }
	keyIsExact(t, key, func(as watch[world, move]) *Walk { return &without(t, *r, off, as).Walk })
}

// TestCrashesAreCounted: a world walked with crashes counted goes to its bounds and
// no further.
func TestCrashesAreCounted(t *testing.T) {
	r := Rules{Kinds: localLocal, Crashes: 2, Colds: 1, Attempts: 1}
	var crashes, colds uint8
	without(t, r, uncounted, watch[world, move]{state: func(w *world) {
		crashes, colds = max(crashes, w.crashes), max(colds, w.colds)
	}})
	if crashes != r.Crashes || colds != r.Colds {
		t.Errorf("%d crashes and %d cold starts were seen, want %d and %d", crashes, colds, r.Crashes, r.Colds)
	}
}
