package explore

import "github.com/dtc-project/dtc/internal/protocol"

// The participant keeps the contract of dtc.OnePhaser, but for its sin.

// raise raises the fence: work of earlier openings that is under way ends.
func (s *onceStep) raise(opening uint8) {
	at := &s.at
	if s.r.Sin == noFence || opening <= at.fence {
		return
	}
	at.fence = opening
	for i := range s.run[:s.runs] {
		if s.run[i].opening < opening {
			at.working &^= only(i)
		}
	}
}

// called raises the fence before a call is answered.
func (s *onceStep) called(i int) {
	if s.r.Sin != lateFence {
		s.raise(s.run[i].opening)
	}
}

// proven reports whether there is evidence that the id was committed.
func (s *onceStep) proven(i int) bool {
	if s.r.Sin == byXID {
		return s.at.evidence.has(i)
	}
	return s.at.evidence != 0
}

// reply puts an answer on the network, if the one who asked is still there.
func (s *onceStep) reply(i int, h heard) {
	begun := s.run[i].opening == s.opening // only the incarnation that began it asks to commit
	if s.tx != nil && i == s.last() && (begun || h > heardAbort) {
		s.answers |= h
	}
}

// dropped reports whether evidence about a run may have been dropped.
func (w *onceWorld) dropped(i int) bool { return w.below(i) && w.retired }

// arrive lets a call that commits in one phase arrive.
func (s *onceStep) arrive(i int) {
	s.called(i)
	at := &s.at
	switch {
	case s.proven(i):
		s.reply(i, heardCommit)
	case at.sealed.has(i):
		s.reply(i, heardAbort)
	case s.dropped(i): // it can't say
	case s.below(i) || s.run[i].opening < at.fence:
		s.reply(i, heardAbort)
	default:
		at.working |= only(i)
	}
}

// refuse ends work that cannot be done: it never will be.
func (s *onceStep) refuse(i int) {
	s.at.working &^= only(i)
	s.at.sealed |= only(i)
	s.reply(i, heardAbort)
}

// commit lets work that is under way take effect, together with its evidence.
func (s *onceStep) commit(i int) {
	at := &s.at
	at.working &^= only(i)
	if s.proven(i) {
		s.reply(i, heardCommit)
		return
	}
	if at.effect != 0 {
		s.fail("I7", "the id has taken effect a second time")
	}
	at.effect = uint8(i) + 1
	if s.r.Sin == notAtomic {
		at.unproven |= only(i)
		return
	}
	s.prove(i)
}

func (s *onceStep) prove(i int) {
	s.at.unproven &^= only(i)
	s.at.evidence |= only(i)
	s.reply(i, heardCommit)
}

// settle lets a settle call arrive.
func (s *onceStep) settle(i int) {
	s.called(i)
	at := &s.at
	switch {
	case s.proven(i):
		s.reply(i, heardCommitted)
	case s.dropped(i) && !at.sealed.has(i):
		s.reply(i, heardDropped)
	default:
		at.sealed |= only(i)
		at.working &^= only(i)
		s.reply(i, heardRolledBack)
	}
}

// crashParty loses work in progress.
func (s *onceStep) crashParty() {
	at := &s.at
	at.working, at.unproven = 0, 0
	if s.r.Sin == forgetsSeals {
		at.sealed = 0
	}
}

func (h heard) outcome() protocol.Outcome {
	switch h {
	case heardCommit, heardCommitted:
		return protocol.Committed
	case heardAbort, heardRolledBack:
		return protocol.RolledBack
	case heardDropped:
	}
	return protocol.OutcomeUnknown
}
