package explore

import "github.com/dtc-project/dtc/internal/protocol"

// answer puts an answer on the network, if the one who asked is still there.
// Only the first incarnation asks for votes.
func (s *step) answer(i int, a answers) {
	s.tellOf(i, answering[a])
	if s.tx != nil && !(s.later && a <= votedReadOnly) {
		s.branch[i].answers |= a
		return
	}
	s.tell("nobody waits for the answer")
}

// vote answers a prepare.
func (s *step) vote(i int, v protocol.Vote) { s.answer(i, votedAbort<<v) }

func (s *step) takePrepare(i int, choice protocol.Vote) {
	b := &s.branch[i]
	if b.row == none && b.lowWater {
		s.vote(i, protocol.VoteAbort)
		return
	}
	if b.row == none {
		switch choice {
		case protocol.VoteCommit:
			b.row = prepared
			if b.undone {
				s.fail("I8", s.name(i)+" has prepared after a rollback was acknowledged")
			}
		case protocol.VoteAbort:
			b.row = aborted
		case protocol.VoteReadOnly:
			b.row, b.readOnly = readOnly, true
		}
	}
	switch b.row {
	case prepared, committed:
		s.vote(i, protocol.VoteCommit)
	case readOnly:
		s.vote(i, protocol.VoteReadOnly)
	case aborted, rolledBack, none:
		s.vote(i, protocol.VoteAbort)
	}
}

func (s *step) takeCommit(i int) {
	b := &s.branch[i]
	switch {
	case b.cold:
		s.answer(i, unknown)
	case b.row == prepared:
		b.row, b.committed = committed, true
		s.answer(i, acknowledged)
	case b.row == committed || b.row == readOnly:
		s.answer(i, acknowledged)
	case b.row == rolledBack || b.row == aborted:
		s.answer(i, endedRolledBack)
	case b.lowWater:
		s.answer(i, acknowledged)
	default:
		s.answer(i, unknown)
	}
}

func (s *step) takeRollback(i int) {
	b := &s.branch[i]
	switch {
	case b.cold:
		s.answer(i, unknown)
	case b.row == committed:
		s.answer(i, endedCommitted)
	default:
		if b.row == prepared || b.row == none && !b.lowWater && !s.r.NoTombstones {
			b.row = rolledBack
		}
		b.undone = true
		s.answer(i, acknowledged)
	}
}
