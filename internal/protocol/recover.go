package protocol

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
	// Unlogged says that the transaction stands in no log: a branch that the
	// sweep found and may roll back. No record is written for it.
	Unlogged bool
	// Resolved holds, for each branch, what an operator stated, or
	// OutcomeUnknown. It may be nil.
	Resolved []Outcome
}

// Recover returns the transaction that a log holds without its end. [Recovered]
// starts it: what was decided is finished as decided; what was not decided is
// rolled back, because nobody can decide it any more. The caller must have read
// the whole log and own it.
func Recover(f Found) Tx {
	t := Tx{state: RollingBack, outcome: RolledBack, why: f.Why, whose: -1, logged: !f.Unlogged}
	t.branches = make([]branch, len(f.Plain))
	if f.Decision == Committed {
		t.state, t.outcome = Committing, Committed
	}
	if f.Decision == OutcomeUnknown {
		t.why = ReasonRecovered
		t.stopped = ReasonRecovered // the abort record is still to be written
	}
	for i := range t.branches {
		b := &t.branches[i]
		b.plain = f.Plain[i]
		if f.Decision == Committed {
			b.voted, b.vote, b.state = true, f.Votes[i], voteState[f.Votes[i]]
		} else {
			b.touched = true // the attempts before the crash are not known
			b.state = BranchRollingBack
		}
		if i < len(f.Resolved) && f.Resolved[i] != OutcomeUnknown {
			b.done = true
			b.heuristic = f.Resolved[i] != t.outcome
			b.state = resolvedState(f.Resolved[i], t.outcome)
		}
	}
	return t
}

// Parked returns what stands for a transaction of so many branches while a recovery
// hold covers it: nothing is known of it, and nothing happens to it.
func Parked(branches int) Tx {
	return Tx{state: Doubtful, whose: -1, branches: make([]branch, branches)}
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
	if t.stopped == ReasonRecovered {
		t.stopped = NoReason
		if t.logged {
			dst = append(dst, AppendAbort{})
		}
	}
	dst = append(dst, Tell{t.outcome})
	for i := range t.branches {
		dst = t.finish(dst, i)
	}
	return t.end(dst)
}
