package explore

import "github.com/dtc-project/dtc/internal/protocol"

// check looks at the world after a move.
func (s *step) check() {
	log := s.log()
	if log.has(commitRecord) && log.has(abortRecord) {
		s.fail("I4", "the log holds both decisions")
	}
	if s.decided && s.told == protocol.RolledBack {
		s.fail("I4", "the client was told rolled_back of a transaction whose commit is durable")
	}
	if s.told == protocol.Committed && !s.decided && !s.allReadOnly() {
		s.fail("I3", "the client was told committed and no durable decision says so")
	}
	for i := range s.r.Kinds {
		s.checkUnknown(i)
		if s.r.remote(i) && s.passes(i) {
			s.checkLowWater(i)
		}
	}
	anyCommitted := false
	for i := range s.r.Kinds {
		anyCommitted = anyCommitted || s.branch[i].committed
	}
	if !anyCommitted {
		return
	}
	for i := range s.r.Kinds {
		b := &s.branch[i]
		if b.committed && b.row == prepared {
			s.fail("I7", s.name(i)+" has prepared again what it had committed")
		}
		if !b.committed && !b.readOnly && b.row != prepared {
			s.fail("I1", "a branch is committed, and "+s.name(i)+" can commit no more")
		}
	}
	if !s.decided {
		s.fail("I3", "a branch is committed, and no durable decision says so")
	}
}

// checkUnknown sees to it that a rollback of a branch that a participant does not
// know, and may never have heard of, is harmless now. A remote participant says
// that it is done and refuses a prepare that comes later: by a tombstone, or
// because low water has passed. A local one has nothing to remember it by; there a
// prepare that is out is rolled back once more when it has returned.
func (s *step) checkUnknown(i int) {
	if s.branch[i].row != none || s.branch[i].cold {
		return
	}
	what := *s.world
	probe := step{world: &what, r: s.r}
	b := &what.branch[i]
	if !s.r.remote(i) {
		b.finish, b.verb = out, protocol.Rollback
		probe.runFinish(i, false)
		if b.finish != didFinish || b.row != none {
			s.fail("I9", "a rollback of what "+s.name(i)+" does not know fails")
		}
		return
	}
	b.answers = 0
	probe.takeRollback(i)
	if what.tx != nil && b.answers != acknowledged {
		s.fail("I9", "a rollback of what "+s.name(i)+" does not know fails")
	}
	if b.row != rolledBack && !b.lowWater {
		s.fail("I9", "a rollback of what "+s.name(i)+" does not know leaves no tombstone")
	}
	if probe.takePrepare(i, protocol.VoteCommit); b.row == prepared {
		s.fail("I9", s.name(i)+" prepares after a rollback of what it did not know")
	}
}

// checkLowWater looks at a branch that low water passes. There is always traffic
// that could carry it, so it is looked at in every state.
func (s *step) checkLowWater(i int) {
	b := &s.branch[i]
	switch {
	case s.replaying && s.synced.has(prepareRecord) && !s.synced.has(endRecord):
		s.fail("low water", "it passes a transaction that the log holds and nobody has read")
	case b.row != prepared:
	case s.tx != nil:
		s.fail("low water", "it passes a prepared branch of a live transaction")
	case b.orphan:
		s.fail("low water", "it passes a branch that a crash left prepared and no sweep has settled")
	}
}

// checkDecision looks at the votes when the decision to commit is taken.
func (s *step) checkDecision() {
	if s.cancelled {
		s.fail("I2", "the decision is to commit after the caller cancelled")
	}
	for i := range s.r.Kinds {
		b := &s.branch[i]
		vote, voted := s.tx.Vote(i)
		switch {
		case !voted || vote == protocol.VoteAbort:
			s.fail("I2", "the decision is to commit without the vote of "+s.name(i))
		case vote == protocol.VoteCommit && b.row != prepared:
			s.fail("I2", "the decision is to commit, and "+s.name(i)+" has not prepared")
		case vote == protocol.VoteReadOnly && !b.readOnly:
			s.fail("I2", s.name(i)+" is taken for read-only and is not")
		}
	}
	if s.log().has(abortRecord) {
		s.fail("I4", "the decision to commit follows the one to roll back")
	}
}

// checkTelling looks at the log when something leaves that tells a commit.
func (s *step) checkTelling(what string) {
	if !s.synced.has(commitRecord) && !s.allReadOnly() {
		s.fail("I3", what+" tells a commit whose record is not synced")
	}
}

// checkForget looks at the branches when the transaction leaves the live table.
func (s *step) checkForget() {
	commits := s.tx.Decision() == protocol.Committed
	for i := range s.r.Kinds {
		b := &s.branch[i]
		vote, _ := s.tx.Vote(i)
		switch {
		case b.row == prepared:
			s.fail("I10", "the transaction is forgotten while "+s.name(i)+" is prepared")
		case !s.r.remote(i) && (b.prepare != noCall || b.finish != noCall):
			s.fail("I10", "the transaction is forgotten while a call of "+s.name(i)+" is out")
		case commits && vote == protocol.VoteCommit && !b.committed:
			s.fail("I10", "the transaction is forgotten and "+s.name(i)+" has not committed")
		case s.r.remote(i) && b.row == none && !b.lowWater && b.sent&prepareSent != 0:
			s.fail("I10", "the transaction is forgotten while a late prepare would be taken by "+s.name(i))
		}
	}
}

// checkSweep looks at a branch that the sweep is about to roll back.
func (s *step) checkSweep(i int) {
	if s.log().has(commitRecord) {
		s.fail("I14", "the sweep rolls back a branch that the log says to commit")
	}
	if s.branch[i].row != prepared {
		return // the listing is old; nothing is left to harm
	}
	if s.tx != nil {
		s.fail("I14", "the sweep rolls back a branch of a live transaction")
	}
	if s.decided {
		s.fail("I14", "the sweep rolls back a branch of a committed transaction")
	}
}

// checkRest looks at a world that was left in peace until nothing more happened.
func (s *step) checkRest() {
	commits := s.told == protocol.Committed && !s.allReadOnly()
	for i := range s.r.Kinds {
		b := &s.branch[i]
		if b.row == prepared || b.prepare != noCall || b.finish != noCall {
			s.fail("rest", s.name(i)+" is left prepared")
		}
		if (s.decided || commits) && !b.committed && !b.readOnly {
			s.fail("rest", "the decision is to commit, and "+s.name(i)+" has not")
		}
		if !s.decided && b.committed {
			s.fail("rest", s.name(i)+" has committed without a decision")
		}
	}
	if s.tx != nil || s.replaying {
		s.fail("rest", "the transaction is still live")
	}
	log := s.log()
	if log.has(prepareRecord) && !log.has(endRecord) {
		s.fail("rest", "the log holds the transaction for ever")
	}
	if (log.has(prepareRecord) || s.decided) && s.told == protocol.OutcomeUnknown {
		s.fail("rest", "the client is never told")
	}
}

// allReadOnly reports whether every participant voted read-only.
func (s *step) allReadOnly() bool {
	for i := range s.r.Kinds {
		if !s.branch[i].readOnly {
			return false
		}
	}
	return true
}
