package protocol

import "github.com/dtc-project/dtc/internal/canary"

// Found is what a log says about one transaction after it was read whole.
type Found struct {
	// Plain has one element for each branch of the prepare record.
	Plain []bool
	// Decision is Committed, RolledBack, or OutcomeUnknown if the log holds the
	// prepare record only.
	Decision Outcome
	// Votes are those of the decision to commit.
	Votes []Vote
	// Why is the reason in the abort record.
	Why Code
	// OnePhase says that the record is one of a transaction in one phase.
	OnePhase bool
	// Unlogged says that the transaction stands in no log: a branch that the
	// sweep found and may roll back. No record is written for it.
	Unlogged bool
	// Resolved holds, for each branch, what an operator stated, or
	// OutcomeUnknown. It may be nil.
	Resolved []Outcome
}

// Recover returns the transaction that a log holds without its end, in state
// [Recovering]. [Recovered] starts it: what was decided is finished as decided; what
// was not decided is rolled back, because nobody can decide it any more. Until then
// nothing happens to it, and nothing but a decision in the log may be told. The caller
// must have read the whole log and own it.
func Recover(f Found) Tx {
	t := Tx{state: Recovering, outcome: f.Decision, why: f.Why, whose: -1, logged: !f.Unlogged}
	t.branches = make([]branch, len(f.Plain))
	if f.OnePhase {
		t.recoverOnce(f)
		return t
	}
	for i := range t.branches {
		b := &t.branches[i]
		b.plain = f.Plain[i]
		switch f.Decision {
		case Committed:
			b.voted, b.vote, b.state = true, f.Votes[i], voteState[f.Votes[i]]
			if canary.On(canary.RecoverWithoutVotes) {
				b.vote = VoteAbort // as it is without one
			}
			b.done = canary.On(canary.RecoverFirstBranch) && i > 0
		case RolledBack:
			b.touched, b.state = true, BranchRollingBack
		case OutcomeUnknown, Heuristic:
			b.touched, b.state = true, BranchPreparing // the attempts before the crash are not known
		}
		if i < len(f.Resolved) && f.Resolved[i] != OutcomeUnknown {
			b.done = true
			b.heuristic = f.Resolved[i] != f.Decision
			b.state = resolvedState(f.Resolved[i], f.Decision)
		}
	}
	return t
}

func resolvedState(stated, decided Outcome) BranchState {
	switch {
	case stated != decided:
		return heuristicState(stated)
	case stated == Committed:
		return BranchCommitted
	}
	return BranchRolledBack
}

// recovered starts what was found.
func (t *Tx) recovered(dst []Effect) []Effect {
	if t.state != Recovering {
		return dst
	}
	if t.once && t.branches[0].stating {
		return t.resolveOnce(dst, t.outcome)
	}
	switch t.outcome {
	case Committed:
		return t.commit(dst)
	case OutcomeUnknown:
		if t.once {
			return t.settle(dst, ReasonRecovered, -1)
		}
		return t.abort(dst, ReasonRecovered, -1)
	case RolledBack, Heuristic:
	}
	t.state = RollingBack
	return t.rollBack(dst)
}
