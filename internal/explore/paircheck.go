package explore

import (
	"fmt"

	"github.com/dtc-project/dtc/internal/protocol"
)

// failOf notes a violation about one transaction.
func (s *pairStep) failOf(i int, invariant, why string) {
	s.fail(invariant, fmt.Sprintf("transaction %d %s", i+1, why))
}

// check looks at the world after a move.
func (s *pairStep) check() {
	for i := range s.run {
		run, log := &s.run[i], s.says(i)
		if log.has(commitRecord) && log.has(abortRecord) {
			s.failOf(i, "I4", "has both decisions in the log")
		}
		if run.decided && run.told == protocol.RolledBack {
			s.failOf(i, "I4", "is told rolled_back, and its commit was durable")
		}
		if run.told == protocol.Committed && !run.decided {
			s.failOf(i, "I3", "is told committed, and no durable decision says so")
		}
		if log.has(endRecord) && run.told != protocol.OutcomeUnknown && log.has(commitRecord) != (run.told == protocol.Committed) {
			s.failOf(i, "I4", "is remembered otherwise than it was told")
		}
		s.checkBranches(i)
	}
}

// checkBranches sees to it that all branches end alike, and stay so.
func (s *pairStep) checkBranches(i int) {
	run, commits := &s.run[i], s.run[i].decided
	for p := range s.r.At[i] {
		b, row := &run.part[p], *s.row(i, int(p))
		commits = commits || b.committed
		if b.committed && row == prepared {
			s.failOf(i, "I7", "is prepared again where it had committed")
		}
		if b.committed && !run.decided {
			s.failOf(i, "I3", "is committed somewhere, and no durable decision says so")
		}
	}
	for p := range s.r.At[i] {
		if commits && !run.part[p].committed && *s.row(i, int(p)) != prepared {
			s.failOf(i, "I1", "is committed, and can commit no more at one participant")
		}
	}
}

// checkBegin looks at a new transaction beside the other one.
func (s *pairStep) checkBegin(i int) {
	for o := range s.run {
		if o == i || !s.run[o].begun {
			continue
		}
		switch {
		case s.xid(o) == s.xid(i):
			s.failOf(i, "I15", "has the XID of another one")
		case s.xid(o).Compare(s.xid(i)) > 0:
			s.failOf(i, "low water", "has an XID that low water may have passed")
		}
		switch {
		case !s.r.SameID:
		case s.run[o].tx != nil:
			s.failOf(i, "I4", "begins while its id is running")
		case s.says(o).has(endRecord):
			s.failOf(i, "I4", "begins while the outcome of its id is remembered")
		case s.run[o].decided && !s.run[o].lost:
			s.failOf(i, "I4", "begins after its id has committed")
		}
	}
}

// checkDecision looks at the votes when the decision to commit is taken.
func (s *pairStep) checkDecision(i int) {
	for p := range s.r.At[i] {
		vote, voted := s.run[i].tx.Vote(int(p))
		if !voted || vote != protocol.VoteCommit || *s.row(i, int(p)) != prepared {
			s.failOf(i, "I2", "is to be committed, and not prepared everywhere")
		}
	}
	if o := 1 - i; s.r.SameID && s.run[o].decided && !s.run[o].lost {
		s.failOf(i, "I4", "is to be committed, and so was another one with its id")
	}
}

func (s *pairStep) tellClient(i int, o protocol.Outcome) {
	run := &s.run[i]
	if o == protocol.Committed && !run.decided {
		s.failOf(i, "I3", "is told committed before that is durable")
	}
	if run.told != protocol.OutcomeUnknown && run.told != o {
		s.failOf(i, "I4", "is told one outcome after another")
	}
	run.told = o
}

// checkForget looks at the branches of a transaction that leaves the live table.
func (s *pairStep) checkForget(i int) {
	commits := s.run[i].tx.Decision() == protocol.Committed
	for p := range s.r.At[i] {
		b, row := &s.run[i].part[p], *s.row(i, int(p))
		switch {
		case row == prepared:
			s.failOf(i, "I10", "is forgotten while a branch is prepared")
		case commits && !b.committed:
			s.failOf(i, "I10", "is forgotten while a branch has not committed")
		case row == none && !s.below(i, int(p)) && b.sent&prepareSent != 0:
			s.failOf(i, "I10", "is forgotten while a late prepare would be taken")
		}
	}
}

// checkSweep looks at a branch that the sweep is about to roll back.
func (s *pairStep) checkSweep(i, p int) {
	switch run := &s.run[i]; {
	case *s.row(i, p) != prepared: // the listing is old
	case run.tx != nil:
		s.failOf(i, "I14", "is live, and the sweep rolls back its branch")
	case run.decided:
		s.failOf(i, "I14", "is to be committed, and the sweep rolls back its branch")
	case s.covered(i):
		s.failOf(i, "I5", "is covered by a hold, and the sweep rolls back its branch")
	}
}

// checkLowWater looks at the branches that low water passes.
func (s *pairStep) checkLowWater(p int, low uint8) {
	for i := range s.run {
		switch b := &s.run[i].part[p]; {
		case low&(1<<i) == 0:
		case s.run[i].tx != nil && !s.run[i].tx.Done(p):
			s.failOf(i, "low water", "is passed, and has an unfinished branch")
		case *s.row(i, p) == prepared && s.run[i].tx != nil:
			s.failOf(i, "low water", "is passed, and has a prepared branch")
		case b.orphan:
			s.failOf(i, "low water", "is passed, and a crash left a branch that no sweep has settled")
		}
	}
}

// checkRest looks at a world that was left in peace until nothing more happened. What
// a hold covers and nobody may release stays as it is.
func (s *pairStep) checkRest() {
	for i := range s.run {
		run, log := &s.run[i], s.says(i)
		stays := s.covered(i)
		switch {
		case stays && (run.tx == nil || run.parked):
		case run.tx != nil:
			s.failOf(i, "rest", "is still live")
		case log.has(prepareRecord) && !log.has(endRecord):
			s.failOf(i, "rest", "stands in the log for ever")
		case log.has(endRecord) && run.told == protocol.OutcomeUnknown:
			s.failOf(i, "rest", "is never told")
		}
		for p := range s.r.At[i] {
			b := &run.part[p]
			if *s.row(i, int(p)) == prepared && !(stays && !run.decided) || b.adopted {
				s.failOf(i, "rest", "is left prepared")
			}
			if run.decided != b.committed && run.begun {
				s.failOf(i, "rest", "has not ended as it was decided")
			}
		}
	}
	if s.hold > 0 && s.mayRelease(s.r) {
		s.fail("rest", "nobody releases the hold")
	}
}
