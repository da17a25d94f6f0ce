package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// without walks a world whole, with some reductions switched off.
func without(t *testing.T, r Rules, off reduction, as watch) *Result {
	t.Helper()
	r.Without = off
	res := exploreAs(&r, maxStates, time.Time{}, as)
	if res.Violated != "" || !res.Complete {
		t.Fatalf("%v: %s", &r, res.Story())
	}
	return res
}

// observations are what the checks, the clients and the log see of a world, in
// each state and where a world left in peace comes to rest.
type observations map[string]bool

func (o observations) see(r *Rules, w *world, when string) {
	var branches []string
	for i := range r.Kinds {
		b := &w.branch[i]
		s := fmt.Sprint(r.Kinds[i], b.row == prepared, b.committed, b.readOnly, b.prepare, b.finish)
		if w.tx != nil {
			vote, voted := w.tx.Vote(i)
			s += fmt.Sprint(vote, voted, w.tx.Done(i))
		}
		branches = append(branches, s)
	}
	slices.Sort(branches)
	state := "no transaction"
	if w.tx != nil {
		state = w.tx.State().String()
	}
	o[fmt.Sprint(when, w.begun, state, w.replaying, w.poisoned, w.told, w.decided, w.synced, w.tail, branches)] = true
}

func observe(t *testing.T, r *Rules, off reduction) (observations, *Result) {
	t.Helper()
	o := observations{}
	res := without(t, *r, off, watch{
		state: func(w *world) { o.see(r, w, "reached") },
		rest:  func(w *world) { o.see(r, w, "at rest") },
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
				compare(t, with, whole, seen)
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

func compare(t *testing.T, with reduction, whole, seen observations) {
	t.Helper()
	for o := range whole {
		if !seen[o] {
			t.Errorf("%v hides %s", with, o)
			break
		}
	}
	for o := range seen {
		if !whole[o] {
			t.Errorf("%v invents %s", with, o)
			break
		}
	}
}

// TestKeyIsExact: all worlds that have the same key can do the same. For every
// state of a world walked without the two reductions of the key, the keys of what
// may come next depend on nothing but its own key.
func TestKeyIsExact(t *testing.T) {
	for _, r := range keyWorlds {
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			classes := map[sum][]sum{}
			keyOf := func(w *world) sum { return hash(w.key(&r, nil)) }
			var from *world
			var me sum
			var next []sum
			note := func() {
				slices.SortFunc(next, func(a, b sum) int { return slices.Compare([]uint64{a.hi, a.lo}, []uint64{b.hi, b.lo}) })
				next = slices.Compact(next)
				if before, ok := classes[me]; ok && !slices.Equal(before, next) {
					t.Errorf("two worlds with the key of %+v can do different things", *from)
				}
				classes[me] = slices.Clone(next)
			}
			res := without(t, r, interchange|oblivion, watch{step: func(w, to *world) {
				if w != from {
					if from != nil {
						note()
					}
					from, me, next = w, keyOf(w), next[:0]
				}
				if k := keyOf(to); k != me {
					next = append(next, k)
				}
			}})
			note() // of the last state
			t.Logf("%d states have %d keys", res.States, len(classes))
			if len(classes) >= res.States {
				t.Error("no two states have the same key")
			}
		})
	}
}
