package explore

import (
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// Result is what an exploration found.
type Result struct {
	Walk
	Rules      *Rules
	Crashes    int // of the coordinator, as transitions
	Committed  int // transitions in which the client was told so
	RolledBack int
}

// Explore walks every state of a world, until one is wrong, all are seen, or
// there are more than limit.
func Explore(r *Rules, limit int) *Result { return explore(r, limit, time.Time{}) }

// explore also stops when the time is over, unless it is zero.
func explore(r *Rules, limit int, end time.Time, as ...watch[world, move]) *Result {
	res := &Result{Rules: r}
	res.Walk = walk(r, newWorld(), &step{r: r}, limit, end, append(as, watch[world, move]{step: res.count})...)
	return res
}

func (r *Result) count(from, to *world, m move) {
	if m.what == crash {
		r.Crashes++
	}
	if to.told == from.told {
		return
	}
	switch to.told {
	case protocol.Committed:
		r.Committed++
	case protocol.RolledBack:
		r.RolledBack++
	case protocol.OutcomeUnknown, protocol.Heuristic:
	}
}

// String is the line that a test prints.
func (r *Result) String() string {
	return fmt.Sprintf("%s: %d states, %d transitions, %d deep, %d crashes, %d commits and %d rollbacks told, %d healed, %.1f s",
		r.Rules, r.States, r.Transitions, r.Deepest, r.Crashes, r.Committed, r.RolledBack, r.Healed, r.Took.Seconds())
}
