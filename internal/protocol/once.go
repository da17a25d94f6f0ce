package protocol

import "github.com/dtc-project/dtc/internal/canary"

// One phase: the only branch of a transaction, at a participant that commits in one
// step and proves it afterwards. There is no decision of ours: the participant's step
// decides, and we learn how it ended by its answer, or by asking.
//
//  1. The record goes to the log before the call leaves, and nothing waits for it.
//     Without it, after a crash, the branch is nobody's: it has committed or it has not,
//     and who asks again by the transaction's id finds out.
//  2. A call without an answer is repeated until the prepare timeout. Then, or after a
//     cancellation, an error that is no clean refusal, or a crash, the branch is settled:
//     the participant proves that it has committed, or makes sure that it never will.
//     Nothing is presumed: not even of a call that never left, since an earlier
//     transaction of the same id may have committed, and no log knows of it.
//  3. What the participant has answered once stands. Another answer later breaks its
//     promise.

// MayOnePhase says that the transaction may commit in one phase: it has one branch, and
// that one is able to. It is said before [Begun], or before the [Cancelled] that comes in
// its place, and is ignored otherwise.
func (t *Tx) MayOnePhase() { t.once = t.state == Active && len(t.branches) == 1 }

// MayBeDone says that the transaction has one branch and takes two phases, though its participant
// may have committed the same id in one phase before, and the log have lost that. A read-only vote
// may then be all that is left of a commit: the decision is forced like any other. It is said, and
// ignored, as [Tx.MayOnePhase] is.
func (t *Tx) MayBeDone() { t.mayBeDone = t.state == Active && len(t.branches) == 1 }

// OnePhase reports whether the transaction commits in one phase.
func (t *Tx) OnePhase() bool { return t.once }

func (t *Tx) sendOnePhase(dst []Effect) []Effect {
	b := &t.branches[0]
	if b.preparing {
		return dst
	}
	b.state, b.preparing = BranchPreparing, true
	b.open++
	return append(dst, SendOnePhase{0})
}

// onceVoted takes the answer to a call that commits in one phase.
func (t *Tx) onceVoted(dst []Effect, ev Voted) []Effect {
	b := &t.branches[0]
	t.prepareReturned(b)
	switch {
	case ev.Unsure && t.state == OnePhase && !canary.On(canary.OnePhaseErrorAborts):
		why := ReasonVoteAbort
		if ev.Broken {
			why = ReasonParticipantError
		}
		return t.settle(dst, why, 0)
	case ev.Unsure && t.state != OnePhase:
		return t.goOn(dst)
	case ev.Vote == VoteAbort:
		return t.learn(dst, RolledBack, ev.Vote)
	}
	return t.learn(dst, Committed, ev.Vote)
}

// goOn continues after a call has returned that told nothing.
func (t *Tx) goOn(dst []Effect) []Effect {
	if t.state == Settling {
		return t.sendSettle(dst)
	}
	return t.end(dst)
}

// settle begins to ask. Why is the reason of the rollback that may come of it.
func (t *Tx) settle(dst []Effect, why Code, whose int) []Effect {
	unsent := t.state == Active
	t.state, t.why, t.whose = Settling, why, whose
	t.branches[0].state, t.branches[0].waiting = BranchPreparing, false
	dst = append(dst, Interrupt{})
	if canary.On(canary.PresumeOnePhase) || canary.On(canary.RecoverOnePhaseAborts) && why == ReasonRecovered ||
		canary.On(canary.PresumeUnsent) && unsent {
		return t.learn(dst, RolledBack, VoteAbort)
	}
	return t.sendSettle(dst)
}

// sendSettle asks, when no call is out, or the one that is hangs.
func (t *Tx) sendSettle(dst []Effect) []Effect {
	b := &t.branches[0]
	if b.finishing || b.waiting || b.preparing && !b.hung && !canary.On(canary.SettleBesideCall) {
		return dst
	}
	b.finishing = true
	return append(dst, SendSettle{0})
}

// settled takes the answer to a settle call.
func (t *Tx) settled(dst []Effect, ev Settled) []Effect {
	b := &t.branches[0]
	if !t.once || !b.finishing {
		return dst
	}
	if ev.Outcome == OutcomeUnknown && t.state == Settling {
		if canary.On(canary.DroppedRolledBack) {
			b.finishing = false
			return t.learn(dst, RolledBack, VoteAbort)
		}
		return t.dropped(dst)
	}
	b.finishing = false
	if ev.Outcome == OutcomeUnknown {
		return t.end(dst)
	}
	return t.learn(dst, ev.Outcome, VoteCommit)
}

// dropped: there is no evidence any more, because it all ended long ago. Only an end
// record that was lost makes us ask that late. The transaction is forgotten, as it
// would have been.
func (t *Tx) dropped(dst []Effect) []Effect {
	b := &t.branches[0]
	if b.preparing || b.stating {
		return t.unfinished(dst, 0)
	}
	b.finishing, b.done = false, true
	t.state = Ended
	dst = append(dst, Tell{OutcomeUnknown})
	if t.logged {
		dst = append(dst, AppendEnd{})
	}
	return append(dst, Forget{})
}

// learn takes what the participant says has become of the branch.
func (t *Tx) learn(dst []Effect, o Outcome, v Vote) []Effect {
	b := &t.branches[0]
	switch t.state {
	case OnePhase, Settling:
		if b.stating && !canary.On(canary.AnswerOverStatement) {
			return dst // an operator was quicker: what is being written counts
		}
		b.voted, b.done, b.waiting = true, true, false
		if o == Committed {
			if b.vote = v; v == VoteAbort {
				b.vote = VoteCommit
			}
			b.state = BranchCommitted
			return t.commit(dst)
		}
		b.vote, b.state = VoteAbort, BranchRolledBack
		if t.state == OnePhase {
			t.why, t.whose, b.state = ReasonVoteAbort, 0, BranchAborted
		}
		return t.abort(dst, t.why, t.whose)
	case Committing, RollingBack:
		if o != t.outcome && !b.heuristic && !canary.On(canary.IgnoreContradiction) {
			b.heuristic, b.state = true, heuristicState(o)
			dst = append(dst, Hazard{0})
		}
		return t.end(dst)
	case Active, Logging, Preparing, Deciding, Ended, Doubtful, Recovering:
	}
	return dst
}

// stating: from now on the operator's word counts, and no answer that comes meanwhile.
func (t *Tx) stating(dst []Effect, i int) []Effect {
	if t.state == Settling && t.once {
		t.branches[i].stating = true
	}
	return dst
}

// unstated: the operator's word is not in the log and never will be.
func (t *Tx) unstated(dst []Effect) []Effect {
	t.branches[0].stating = false
	return t.sendSettle(dst)
}

// doubtful: the operator's word may be in the log, and then it counts.
func (t *Tx) doubtful(dst []Effect) []Effect {
	if !t.branches[0].stating {
		return dst
	}
	if canary.On(canary.StatementDoubtIgnored) {
		return t.unstated(dst)
	}
	t.state = Doubtful
	return append(dst, Tell{OutcomeUnknown})
}

// resolveOnce: an operator says how the transaction ended, and nobody here knows better.
func (t *Tx) resolveOnce(dst []Effect, o Outcome) []Effect {
	b := &t.branches[0]
	b.done, b.waiting, b.stating = true, false, false
	if o == Committed {
		b.state = BranchCommitted
		return t.commit(dst)
	}
	b.state = BranchRolledBack
	return t.abort(dst, ReasonForced, -1)
}

// recoverOnce fills in what a log says of a transaction in one phase.
func (t *Tx) recoverOnce(f Found) {
	t.once = true
	b := &t.branches[0]
	b.plain = f.Plain[0]
	b.touched, b.state = true, BranchPreparing
	if t.outcome == OutcomeUnknown && len(f.Resolved) > 0 {
		t.outcome = f.Resolved[0]
		b.stating = t.outcome != OutcomeUnknown // and what follows it is not in the log
	}
	if t.outcome != OutcomeUnknown {
		b.done, b.state = true, resolvedState(t.outcome, t.outcome)
	}
}
