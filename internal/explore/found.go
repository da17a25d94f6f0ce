package explore

import (
	"strings"
	"time"
)

// Walk is what a walk over a world of any kind found.
type Walk struct {
	States      int
	Transitions int
	Healed      int // states from which the world was seen to come to rest
	Deepest     int // moves from the beginning
	Complete    bool
	Took        time.Duration

	Violated string // the invariant, or empty
	Why      string
	Trace    []string
	Moves    int // of the trace
}

// Story is the counterexample.
func (w *Walk) Story() string {
	return w.Violated + ": " + w.Why + "\n" + strings.Join(w.Trace, "\n")
}

// found writes the trace of a violation: the moves to state me, those after it, and those
// of the world left in peace then.
func (x *walker[R, W, M]) found(me uint32, moves, rest []M) {
	for n := me; n != 0; n = x.parents[n] {
		moves = append([]M{x.by[n]}, moves...)
	}
	say := func(line string) { x.Trace = append(x.Trace, line) }
	*x.notes = notes{only: x.notes.only, hasty: x.notes.hasty, say: say}
	x.at = x.start
	x.step.in(&x.at)
	for _, m := range moves {
		x.step.make(m)
	}
	if len(rest) > 0 {
		say("From here on nothing more goes wrong:")
	}
	been := map[sum]bool{}
	for _, m := range rest {
		h := x.sum(&x.at)
		if been[h] {
			say("and so on for ever")
			break
		}
		been[h] = true
		x.step.make(m)
	}
	if x.notes.wrong == "" {
		x.step.checkRest()
	}
	x.notes.fail("rest", "the world does not come to rest")
	x.Violated, x.Why, x.Moves = x.notes.wrong, x.notes.why, len(moves)+len(rest)
}
