package explore

import (
	"fmt"
	"strings"
	"time"
)

// Result is what an exploration found.
type Result struct {
	Rules       *Rules
	States      int
	Transitions int
	Crashes     int // of the coordinator, as transitions
	Committed   int // transitions in which the client was told so
	RolledBack  int
	Healed      int // states from which the world was seen to come to rest
	Deepest     int // moves from the beginning
	Complete    bool
	Took        time.Duration

	Violated string // the invariant, or empty
	Why      string
	Trace    []string
	Moves    int // of the trace
}

// String is the line that a test prints.
func (r *Result) String() string {
	return fmt.Sprintf("%s: %d states, %d transitions, %d deep, %d crashes, %d commits and %d rollbacks told, %d healed, %.1f s",
		r.Rules, r.States, r.Transitions, r.Deepest, r.Crashes, r.Committed, r.RolledBack, r.Healed, r.Took.Seconds())
}

// Story is the counterexample.
func (r *Result) Story() string {
	return r.Violated + ": " + r.Why + "\n" + strings.Join(r.Trace, "\n")
}

// found writes the trace of a violation: the moves to state me, then m, or the
// moves of a world left in peace.
func (x *explorer) found(me uint32, m move, rest []move) {
	var moves []move
	for n := me; n != 0; n = x.parents[n] {
		moves = append([]move{unpack(x.by[n])}, moves...)
	}
	if rest == nil {
		moves = append(moves, m)
	}
	w := newWorld()
	s := step{world: &w, r: x.Rules, say: func(line string) { x.Trace = append(x.Trace, line) }}
	for _, m := range moves {
		s.make(m)
	}
	if len(rest) > 0 {
		x.Trace = append(x.Trace, "From here on nothing more goes wrong:")
		been := map[sum]bool{}
		for _, m := range rest {
			if h := x.sum(&w); been[h] {
				x.Trace = append(x.Trace, "and so on for ever")
				break
			} else {
				been[h] = true
			}
			s.make(m)
		}
	}
	if s.wrong == "" {
		s.checkRest()
	}
	if s.wrong == "" {
		s.fail("rest", "the world does not come to rest")
	}
	x.Violated, x.Why, x.Moves = s.wrong, s.why, len(moves)+len(rest)
}
