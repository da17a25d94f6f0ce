package histories

import "github.com/dtc-project/dtc/internal/sim"

// once is what may be the truth about runs in one phase, beside what a [state] has of
// every run. Their record is not forced, and the log has no decision: the participant
// keeps what became of them.
type once struct {
	// Committed, and no log knows of it. Whoever runs the same again is told so.
	lost uint64
	// A run that can only end as committed: its id has the evidence.
	bound uint64
	// One that recovery found: its participant says how it ended.
	doubt uint64
	// One whose process has died. It may still be carried out, unless a call of a later
	// process comes to its participant first. And one that is forgotten: its evidence may
	// be there.
	late uint64
}

// ran adds what may have come of an id with evidence: the same runs again, to be told
// committed, or another request does, which nobody knows better.
func (s state) ran(x *step) state {
	for i, same := range x.proves {
		if s.once.lost&(1<<i) != 0 {
			s.once.bound |= x.starts & same
			s.live |= x.starts &^ same
		}
	}
	s.once.late |= s.committed&x.once&x.forgotten | s.once.lost
	s.committed |= s.once.bound | s.once.doubt
	s.rolledBack |= s.once.doubt
	return s
}

// crashed says what a crash leaves of runs in one phase. Told rolled back, a branch is
// unable to commit for ever; told committed, its id has the evidence for ever.
func (s state) crashed(x *step) once {
	committed := (s.committed | s.hazardCommitted) & x.once
	o := once{
		lost:  s.once.lost | s.once.bound | committed,
		bound: s.once.bound | committed,
		doubt: s.once.doubt | s.live&x.once&^x.refused,
		late:  s.once.late | s.once.doubt | s.live&x.once&^x.refused,
	}
	if s.once.lost != 0 {
		o.doubt |= x.written & x.once // which finds the evidence of the other
	}
	return o
}

// closedOnce is crashed after a close in order. Of what was grown and settled before it
// was to be committed the log has nothing.
func (s state) closedOnce(x *step) once {
	o := s.crashed(x)
	committed := (s.committed | s.hazardCommitted) & x.once
	o.lost = s.once.lost | (s.once.bound|committed)&x.grown
	return o
}

// proved: the participants were asked as well, all of them.
func (s state) proved(x *step) state {
	switch x.Answer {
	case sim.Committed:
		// The evidence is there as soon as the work is done, and the coordinator hears of it later.
		bound := s.once.bound | (s.once.doubt|s.live&^x.refused)&x.once
		return state{committed: s.committed, once: once{lost: s.once.lost | s.once.late, bound: bound}}
	case sim.NotKnown:
		s.once.lost &= x.forgotten
		next := state{unknown: s.unknown, once: once{lost: s.once.lost}}
		return next
	case sim.NoAnswer, sim.RolledBack, sim.Conflict, sim.Refused, sim.Unfinished, sim.Heuristic, sim.LogFailed:
	}
	return s.asked(x)
}

// resolved: what an operator says of a run in one phase whose participant does not say
// it is its outcome, if nobody was quicker. Nobody was if a crash took the end of one that
// was told rolled back: it is settled again, and he may speak before its participant.
func (s state) resolved(x *step) state {
	open := (s.live | s.found | s.once.doubt | s.once.bound) & x.once
	switch x.Answer {
	case sim.Committed:
		s.committed |= open
	case sim.RolledBack:
		s.rolledBack |= open
		s.once.late |= open // the evidence may say otherwise when the word is forgotten
	case sim.NoAnswer, sim.Conflict, sim.Refused, sim.NotKnown, sim.Unfinished, sim.Heuristic, sim.LogFailed:
	}
	return s
}

// phases fills in what a run in one phase may do, and who finds its evidence.
func (x *step) phases(runs []call, slots []int, i int) {
	r := &runs[i]
	if !r.OnePhase {
		return
	}
	x.once |= 1 << slots[i]
	for j := range runs {
		if r.Evidence != 0 && runs[j].Evidence == r.Evidence && runs[j].OnePhase {
			x.proves[slots[i]] |= 1 << slots[j]
		}
	}
}
