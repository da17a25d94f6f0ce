package protocol

import "github.com/dtc-project/dtc/internal/canary"

// finish moves one branch towards its end, after the decision. It may be called
// at any time and does what can be done now: nothing while a call is out or a
// retry is waiting, another call if one is needed, or the note that the branch
// is done.
func (t *Tx) finish(dst []Effect, i int) []Effect {
	if t.state == Committing {
		return t.finishCommit(dst, i)
	}
	return t.finishRollback(dst, i)
}

func (t *Tx) finishCommit(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	switch {
	case b.done || b.heuristic || b.waiting || !b.quiet():
	case b.vote != VoteCommit:
		b.done = true // read-only: it holds nothing
	case b.acked:
		b.done, b.state = true, BranchCommitted
	default:
		b.finishing, b.state = true, BranchCommitting
		dst = append(dst, SendCommit{i})
	}
	return dst
}

func (t *Tx) finishRollback(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	switch {
	case b.done || b.heuristic || b.waiting || b.finishing:
	case b.preparing && !b.hung:
		// One call at a time: it returns, or is reported hung.
	case b.preparing && b.acked:
		// The rollback beside it is done; the prepare may still take effect.
		if canary.On(canary.NoSecondRollback) {
			b.done, b.preparing, b.state = true, false, BranchRolledBack
		}
	case b.acked && !b.again:
		b.done, b.state = true, BranchRolledBack
	case !b.preparing && !b.mayHold():
		b.done = true // its state says how it voted, or that it was never asked
		if b.state == BranchRollingBack {
			b.state = BranchRolledBack
		}
	default:
		b.finishing, b.acked, b.again = true, false, false
		b.refused = true
		b.told = b.preparing
		b.state = BranchRollingBack
		dst = append(dst, SendRollback{i})
	}
	return dst
}

func (t *Tx) acked(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	if !b.finishing {
		return dst
	}
	b.finishing, b.acked = false, true
	return t.end(t.finish(dst, i))
}

// unknown: the participant says that it does not know the branch. A participant
// that forgot, a restored one, or the wrong one would say the same, so it is no
// acknowledgement.
func (t *Tx) unknown(dst []Effect, i int) []Effect {
	if canary.On(canary.BelieveNotFound) {
		return t.acked(dst, i)
	}
	return t.unfinished(dst, i)
}

// unfinished: a commit or rollback call returned and the branch is not known to
// be finished. It is retried for ever.
func (t *Tx) unfinished(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	if !b.finishing {
		return dst
	}
	b.finishing = false
	if b.done { // an operator resolved it meanwhile
		return t.end(dst)
	}
	b.waiting = true
	return append(dst, Retry{i})
}

// finishedOtherwise: the branch had ended before we said how. If that is how we
// decided it is an acknowledgement; otherwise the promise is broken, and the
// branch is kept for an operator.
func (t *Tx) finishedOtherwise(dst []Effect, ev FinishedOtherwise) []Effect {
	if t.once {
		return t.settled(dst, Settled(ev)) // another way to say it
	}
	b := &t.branches[ev.Branch]
	if t.once {
		return t.settled(dst, Settled(ev)) // another way to say it
	}
	if ev.Outcome == t.outcome {
		return t.acked(dst, ev.Branch)
	}
	if !b.finishing {
		return dst
	}
	b.finishing = false
	if b.done && b.heuristic {
		return t.end(dst)
	}
	// Also if an operator said otherwise: the participant knows better.
	b.heuristic, b.state = true, heuristicState(ev.Outcome)
	return t.end(append(dst, Hazard{ev.Branch}))
}

// resolved: an operator says how the branch ended. Nothing more is sent to it.
func (t *Tx) resolved(dst []Effect, ev Resolved) []Effect {
	b := &t.branches[ev.Branch]
	if t.state == Settling {
		return t.resolveOnce(dst, ev.Outcome)
	}
	if t.state != Committing && t.state != RollingBack {
		return dst
	}
	// Also if the branch was acknowledged meanwhile: the statement is in the log,
	// and what the log says after a restart must hold before it too.
	b.done, b.waiting = true, false
	switch {
	case b.heuristic: // acknowledged; how it ended stays visible
	case ev.Outcome != t.outcome:
		b.heuristic, b.state = true, heuristicState(ev.Outcome)
		dst = append(dst, Hazard{ev.Branch})
	case ev.Outcome == Committed:
		b.state = BranchCommitted
	default:
		b.state = BranchRolledBack
	}
	return t.end(dst)
}

func heuristicState(o Outcome) BranchState {
	if o == Committed {
		return BranchHeuristicCommitted
	}
	return BranchHeuristicRolledBack
}

func (t *Tx) heuristic() bool {
	for i := range t.branches {
		if t.branches[i].heuristic {
			return true
		}
	}
	return false
}

// end forgets the transaction if every branch is finished and every call has
// returned.
func (t *Tx) end(dst []Effect) []Effect {
	if t.state != Committing && t.state != RollingBack {
		return dst
	}
	finished := 0
	for i := range t.branches {
		if b := &t.branches[i]; b.done && (b.quiet() || b.hung && canary.On(canary.ForgetOverHungCall)) {
			finished++
		}
	}
	if finished < len(t.branches) && (finished == 0 || !canary.On(canary.ForgetBeforeLastAck)) {
		return dst
	}
	t.state = Ended
	if t.logged {
		dst = append(dst, AppendEnd{})
	}
	return append(dst, Forget{})
}
