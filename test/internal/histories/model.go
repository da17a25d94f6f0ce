package histories

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/dtc-project/dtc/internal/sim"
)

// state is all that may be the truth about one id, given what clients have heard. Each
// execute of the id has a bit, and stands for the run that it may have begun: a set bit
// means that this run may be where the mask says.
//
// It is a set of states written by hand, and not one of Porcupine's: clients see little
// of what happens, so it is a large one, and it fits into seven words.
type state struct {
	unknown bool // never begun, lost or forgotten: the next execute runs it
	// A run that goes on, and one that recovery found undecided. The latter can only
	// be rolled back: if a decision was on the disk recovery has read it.
	live, found           uint64
	committed, rolledBack uint64
	// The same, and a branch is known to be finished against it.
	hazardCommitted, hazardRolledBack uint64
	// What may stand in the log though the process has forgotten it. If so many ended
	// since, not all of these are in the log; if it is old, its end is perhaps not, and
	// recovery ends it once more. So the next process may remember more.
	loggedCommitted, loggedRolledBack uint64

	once once
}

// possible reports whether anything may be the truth.
func (s state) possible() bool {
	return s.unknown || s.live|s.found|s.once.lost|s.once.bound|s.once.doubt|s.ended() != 0
}

// step is an answer that a client got, or a crash, with what may have happened unseen
// before it.
type step struct {
	call
	starts    uint64   // runs that may begin
	same      uint64   // runs of the same request
	refused   uint64   // runs of which their caller heard that nothing was begun
	over      uint64   // of those: the ones whose caller has heard it before
	written   uint64   // and those that are on the disk perhaps when the process dies: its log failed
	readOnly  uint64   // runs for which nothing is forced, also if they commit
	grown     uint64   // runs of which nothing is in the log before they are committed
	forgotten uint64   // runs whose outcome may be forgotten
	once      uint64   // runs that may be in one phase
	proves    []uint64 // of each run, those that find its evidence
}

// unseen adds to what may be the truth all that may have come of it before a step.
func (s state) unseen(x *step) state {
	s.unknown = s.unknown || s.live&x.over != 0
	s.live &^= x.over
	for {
		before := s
		if (s.ended()|(s.found|s.once.doubt|s.once.bound)&x.once)&x.forgotten != 0 || s.live&x.refused != 0 {
			s.unknown = true
		}
		s.loggedCommitted |= (s.committed | s.hazardCommitted) & x.forgotten
		s.loggedRolledBack |= (s.rolledBack | s.hazardRolledBack) & x.forgotten
		if s.unknown {
			s.live |= x.starts
		}
		s = s.ran(x)
		s.committed |= s.live &^ x.refused
		s.rolledBack |= s.live&^x.refused | s.found
		s.hazardCommitted |= s.committed
		s.hazardRolledBack |= s.rolledBack
		if s == before {
			return s
		}
	}
}

func (s state) ended() uint64 {
	return s.committed | s.rolledBack | s.hazardCommitted | s.hazardRolledBack
}

// after returns what may be the truth after a step. It is empty if none of what may
// have been the truth before explains the answer.
func (s state) after(x *step) state {
	s = s.unseen(x)
	next := s.next(x)
	next.once.late |= s.once.late // whatever else becomes of the id
	return next
}

func (s state) next(x *step) state {
	switch x.Kind {
	case sim.OpPowerLost, sim.OpKilled:
		return s.crash(x).replayed(s, x)
	case sim.OpClosed:
		return s.closed(x).replayed(s, x)
	case sim.OpExecute:
		return s.executed(x).logged(s, x)
	case sim.OpOutcome:
		return s.asked(x).logged(s, x)
	case sim.OpProve:
		return s.proved(x).logged(s, x)
	case sim.OpResolved:
		return s.resolved(x)
	case sim.OpReopened:
	}
	return s
}

// logged keeps what may stand in the log, unless what was heard is forced and stands
// after it. What was committed in one phase is not: its participant keeps it, and may
// prove it when the log knows nothing.
func (s state) logged(before state, x *step) state {
	if x.Answer != sim.Committed || s.committed&(x.readOnly|x.once)|s.once.lost != 0 {
		s.loggedCommitted, s.loggedRolledBack = before.loggedCommitted, before.loggedRolledBack
	}
	return s
}

// replayed lets the next process remember what stands in the log, if nothing that came
// later does.
func (s state) replayed(before state, x *step) state {
	s.loggedCommitted, s.loggedRolledBack = before.loggedCommitted, before.loggedRolledBack
	if s.unknown || s.once.lost != 0 {
		s.committed |= s.loggedCommitted
		s.rolledBack |= s.loggedRolledBack
		s.once.bound |= s.loggedCommitted & x.once // its participant is asked again
		s.found |= s.loggedRolledBack & x.once
	}
	return s
}

// executed: whoever asks to run an id runs it, joins, or gets what is remembered; and a
// request under an id that is another's is turned away.
func (s state) executed(x *step) state {
	switch x.Answer {
	case sim.Committed:
		return state{committed: s.committed & x.same}
	case sim.RolledBack:
		return state{rolledBack: s.rolledBack & x.same}
	case sim.Heuristic:
		return state{hazardCommitted: s.hazardCommitted & x.same, hazardRolledBack: s.hazardRolledBack & x.same}
	case sim.Conflict:
		return state{
			live: s.live &^ x.same, found: s.found &^ x.same,
			committed: s.committed &^ x.same, rolledBack: s.rolledBack &^ x.same,
			hazardCommitted: s.hazardCommitted &^ x.same, hazardRolledBack: s.hazardRolledBack &^ x.same,
			once: once{bound: s.once.bound &^ x.same, doubt: s.once.doubt &^ x.same},
		}
	case sim.NoAnswer, sim.Refused, sim.LogFailed, sim.NotKnown, sim.Unfinished:
	}
	return state{} // no execute answers that
}

// asked: an outcome is told as it is.
func (s state) asked(x *step) state {
	switch x.Answer {
	case sim.Committed:
		return state{committed: s.committed}
	case sim.RolledBack:
		return state{rolledBack: s.rolledBack}
	case sim.Heuristic:
		return state{hazardCommitted: s.hazardCommitted, hazardRolledBack: s.hazardRolledBack}
	case sim.NotKnown:
		return state{unknown: s.unknown, once: once{lost: s.once.lost}}
	case sim.Unfinished:
		return state{live: s.live, found: s.found, once: once{bound: s.once.bound, doubt: s.once.doubt}}
	case sim.NoAnswer, sim.Refused, sim.LogFailed, sim.Conflict:
	}
	return state{}
}

// crash: what is committed stays. Everything else may be lost, or found without its
// decision, or stay. A commit for which nothing was forced is like a rollback here:
// neither left anything anywhere.
func (s state) crash(x *step) state {
	s.live &^= x.refused
	if s.unknown {
		s.found |= x.written
	}
	if s.once.lost != 0 { // to the log the id is a new one
		s.found |= x.written &^ x.once
	}
	unforced := s.rolledBack | s.hazardRolledBack | (s.committed|s.hazardCommitted)&x.readOnly
	return state{
		once:            s.crashed(x),
		unknown:         s.unknown || s.live|s.once.doubt|unforced != 0,
		found:           s.live | s.found | unforced,
		committed:       s.committed | s.hazardCommitted,
		rolledBack:      s.rolledBack | s.hazardRolledBack,
		hazardCommitted: s.hazardCommitted, hazardRolledBack: s.hazardRolledBack,
	}
}

// closed: nothing is lost that the log was ever given. What waits for an operator is
// found undecided again.
func (s state) closed(x *step) state {
	s.once = s.closedOnce(x)
	s.found |= s.rolledBack & x.once // a call of it may be out
	s.unknown = s.unknown || (s.rolledBack|s.hazardRolledBack)&x.grown != 0 || s.live&x.refused != 0
	s.found |= s.live &^ x.refused
	s.live = 0
	s.committed |= s.hazardCommitted
	s.rolledBack |= s.hazardRolledBack
	return s
}

// model is what Porcupine searches with: the input of an operation is a *step.
var model = porcupine.Model{
	Init: func() any { return state{unknown: true} },
	Step: func(s, in, _ any) (bool, any) {
		next := s.(state).after(in.(*step))
		return next.possible(), next
	},
	DescribeOperation: func(in, _ any) string { return in.(*step).String() },
	DescribeState:     func(s any) string { return s.(state).String() },
}

func (s state) String() string {
	var may []string
	if s.unknown {
		may = append(may, "unknown")
	}
	for _, part := range []struct {
		name string
		runs uint64
	}{
		{"running", s.live},
		{"found undecided", s.found},
		{"committed", s.committed},
		{"rolled back", s.rolledBack},
		{"committed with a hazard", s.hazardCommitted},
		{"rolled back with a hazard", s.hazardRolledBack},
		{"committed, and the log has lost it", s.once.lost},
		{"running, with the evidence there", s.once.bound},
		{"in doubt", s.once.doubt},
		{"forgotten, and logged as committed", s.loggedCommitted},
		{"forgotten, and logged as rolled back", s.loggedRolledBack},
	} {
		if part.runs != 0 {
			may = append(may, fmt.Sprintf("%s (runs %b)", part.name, part.runs))
		}
	}
	return strings.Join(may, " or ")
}
