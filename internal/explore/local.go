package explore

import "github.com/dtc-project/dtc/internal/protocol"

// runPrepare lets a prepare that is out take effect.
func (s *step) runPrepare(i int, choice protocol.Vote) {
	b := &s.branch[i]
	if b.row != none { // again
		choice = protocol.VoteCommit
	}
	switch choice {
	case protocol.VoteCommit:
		b.prepare = didCommit
		if b.row == none {
			b.row = prepared
		}
	case protocol.VoteAbort:
		b.prepare = didAbort
	case protocol.VoteReadOnly:
		b.prepare = didReadOnly
	}
}

// runFinish lets a commit or rollback that is out take effect.
func (s *step) runFinish(i int, cold bool) {
	b := &s.branch[i]
	b.finish = didFinish
	switch {
	case b.cold || cold:
		b.finish = didNotKnow
	case b.verb == protocol.Commit && b.row == prepared:
		b.row, b.committed = committed, true
	case b.verb == protocol.Commit && b.row == none:
		b.finish = didNotKnow
	case b.verb == protocol.Rollback && b.row == committed:
		b.finish = didOtherwise
	case b.verb == protocol.Rollback:
		b.row = none
	}
}

// returned lets a call return with its answer.
func (s *step) returned(what what, i int) {
	b := &s.branch[i]
	prepare, finish := b.prepare, b.finish
	if what == finishReturns {
		b.finish, b.verb = noCall, 0
		switch {
		case finish == didFinish:
			s.tell("done")
			s.event(protocol.Acked{Branch: i})
		case finish == didNotKnow:
			s.tell("unknown")
			s.event(protocol.Unknown{Branch: i})
		default:
			s.tell("ended otherwise")
			s.event(protocol.FinishedOtherwise{Branch: i, Outcome: protocol.Committed})
		}
		return
	}
	b.prepare, b.hung, b.beside = noCall, false, false
	switch {
	case what == returnsError:
		s.event(protocol.Voted{Branch: i, Vote: protocol.VoteAbort, Unsure: true})
	case prepare == didCommit:
		s.tell("vote_commit")
		s.event(protocol.Voted{Branch: i, Vote: protocol.VoteCommit})
	case prepare == didReadOnly:
		s.tell("read_only")
		b.readOnly = true
		s.event(protocol.Voted{Branch: i, Vote: protocol.VoteReadOnly})
	default:
		s.tell("vote_abort")
		s.event(protocol.Voted{Branch: i, Vote: protocol.VoteAbort})
	}
}
