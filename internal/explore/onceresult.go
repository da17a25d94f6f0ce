package explore

import (
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// OnceResult is what a walk over a world of one phase found.
type OnceResult struct {
	Walk
	Rules *OnceRules
	Seen  OnceSights
}

// ExploreOnce walks every state of a world of one phase, like [Explore].
func ExploreOnce(r *OnceRules, limit int) *OnceResult { return exploreOnce(r, limit, time.Time{}) }

func exploreOnce(r *OnceRules, limit int, end time.Time, as ...watch[onceWorld, onceMove]) *OnceResult {
	res := &OnceResult{Rules: r}
	count := watch[onceWorld, onceMove]{state: res.Seen.see}
	res.Walk = walk(r, newOnce(), &onceStep{r: r, notes: notes{only: r.only, hasty: true}}, limit, end, append(as, count)...)
	return res
}

// OnceSights counts the states in which something is so, as [Sights].
type OnceSights struct {
	Committed      int // the first run is told committed
	RolledBack     int // and rolled back
	Beside         int // a settle call is out beside one that hangs
	Recovered      int // a settle call is out of an incarnation that did not begin the run
	Lost           int // a run took effect, or may, that no log knows
	Fenced         int // a call is late that the fence refuses
	Sealed         int // a call is late that was settled
	Rerun          int // an id runs again
	CommittedAfter int // it was told rolled_back, a crash lost that, and it is told committed
	Found          int // it is told committed, and an earlier run had taken effect
	Stating        int // an operator's statement is on its way while an answer is
	Doubtful       int // nobody knows whether it is in the log
	Contradicted   int // an operator was wrong, and an alarm says so
	Dropped        int // the evidence is gone, and somebody asks
}

func (n *OnceSights) see(w *onceWorld) {
	count := func(n *int, so bool) {
		if so {
			*n++
		}
	}
	at := &w.at
	count(&n.Beside, w.settling && w.hung)
	count(&n.Recovered, w.settling && w.run[w.last()].opening < w.opening)
	count(&n.Stating, w.stating != protocol.OutcomeUnknown && w.answers != 0)
	count(&n.Doubtful, w.tx != nil && w.tx.State() == protocol.Doubtful)
	count(&n.Dropped, w.answers&heardDropped != 0)
	count(&n.Rerun, w.runs > 1)
	for i := range w.run[:w.runs] {
		run := &w.run[i]
		late := run.sent&onePhaseSent != 0 && at.evidence == 0
		count(&n.Committed, run.told == protocol.Committed && i == 0)
		count(&n.RolledBack, run.told == protocol.RolledBack && i == 0)
		count(&n.Fenced, late && run.opening < at.fence)
		count(&n.Sealed, late && at.sealed.has(i))
		count(&n.Lost, late && w.n == 0 && w.tx == nil)
		count(&n.Contradicted, run.alarm)
		count(&n.Found, run.word == protocol.Committed && int(at.effect) <= i)
		count(&n.CommittedAfter, i > 0 && run.word == protocol.Committed && w.run[i-1].word == protocol.RolledBack)
	}
}

// String is the line that a test prints.
func (r *OnceResult) String() string {
	return fmt.Sprintf("%v: %d states, %d transitions, %d deep, %d healed, %+v, %.1f s",
		r.Rules, r.States, r.Transitions, r.Deepest, r.Healed, r.Seen, r.Took.Seconds())
}

func (r *OnceRules) options() (names []string) {
	if r.Dropping {
		names = append(names, "dropping")
	}
	if r.Withdrawals {
		names = append(names, "withdrawals")
	}
	if r.Sin != honest {
		names = append(names, r.Sin.String())
	}
	return names
}

// String describes a world.
func (r *OnceRules) String() string {
	s := fmt.Sprintf("one phase, %d runs of an id, %d crashes, %d log faults, %d statements", r.Runs, r.Crashes, r.LogFaults, r.Statements)
	for _, option := range r.options() {
		s += ", " + option
	}
	return s
}

// name is a short name for a test.
func (r *OnceRules) name() string {
	s := fmt.Sprintf("once/%d/%d-%d-%d", r.Runs, r.Crashes, r.LogFaults, r.Statements)
	for _, option := range r.options() {
		s += "-" + option
	}
	return s
}
