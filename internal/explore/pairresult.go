package explore

import (
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// PairResult is what a walk over a world of two found.
type PairResult struct {
	Walk
	Rules *PairRules
	Seen  Sights
}

// ExplorePair walks every state of a world of two, like [Explore].
func ExplorePair(r *PairRules, limit int) *PairResult { return explorePair(r, limit, time.Time{}) }

func explorePair(r *PairRules, limit int, end time.Time, as ...watch[pair, pairMove]) *PairResult {
	res := &PairResult{Rules: r}
	count := watch[pair, pairMove]{state: func(w *pair) { res.Seen.see(r, w) }}
	res.Walk = walk(r, newPair(), &pairStep{r: r, notes: notes{only: r.only, hasty: true}}, limit, end, append(as, count)...)
	return res
}

// Sights counts the states in which something is so: a world in which it never is
// shows nothing about it.
type Sights struct {
	BothLive       int // both transactions run
	Refused        int // a late prepare meets low water, and no row
	Passed         int // the older one is below low water and the newer is not
	Orphans        int // a branch is prepared that no log knows
	Held           int // a hold covers a transaction
	Parked         int // and one that was found undecided
	Untold         int // of which the decision to commit was durable
	Released       int // a hold was released
	Rerun          int // an id runs again
	CommittedAfter int // it was told rolled_back, a crash lost that, and it is told committed
}

func (n *Sights) see(r *PairRules, w *pair) {
	count := func(n *int, so bool) {
		if so {
			*n++
		}
	}
	one, two := &w.run[0], &w.run[1]
	count(&n.BothLive, one.tx != nil && two.tx != nil)
	count(&n.Passed, w.below(0, 0) && two.begun && !w.below(1, 0))
	count(&n.Released, w.released > 0)
	count(&n.Rerun, r.SameID && two.begun)
	count(&n.CommittedAfter, r.SameID && one.told == protocol.RolledBack && !one.lost && two.told == protocol.Committed)
	for i := range w.run {
		run := &w.run[i]
		count(&n.Held, run.begun && w.covered(i))
		count(&n.Parked, run.parked)
		count(&n.Untold, run.begun && w.covered(i) && w.untold(i))
		for p := range r.At[i] {
			b := &run.part[p]
			count(&n.Refused, b.sent&prepareSent != 0 && b.row == none && w.below(i, int(p)))
			count(&n.Orphans, b.orphan)
		}
	}
}

// String is the line that a test prints.
func (r *PairResult) String() string {
	return fmt.Sprintf("%v: %d states, %d transitions, %d deep, %d healed, %+v, %.1f s",
		r.Rules, r.States, r.Transitions, r.Deepest, r.Healed, r.Seen, r.Took.Seconds())
}

// String describes a world.
func (r *PairRules) String() string {
	s := fmt.Sprintf("two transactions at %d and %d, %d crashes, %d restores", r.At[0], r.At[1], r.Crashes, r.Restores)
	if r.SameID {
		s += ", one id"
	}
	if r.NoHold {
		s += ", no hold"
	}
	return s
}

// name is a short name for a test.
func (r *PairRules) name() string {
	s := fmt.Sprintf("two/%d+%d/%d-%d", r.At[0], r.At[1], r.Crashes, r.Restores)
	if r.SameID {
		s += "-id"
	}
	return s
}
