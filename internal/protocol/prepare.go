package protocol

import "github.com/dtc-project/dtc/internal/canary"

// voted takes a vote. The first definitive vote of a branch is its vote; a
// second, different one breaks the participant's promise.
func (t *Tx) voted(dst []Effect, ev Voted) []Effect {
	b := &t.branches[ev.Branch]
	stray := !b.preparing // late, or delivered twice
	if !stray && ev.Vote != VoteCommit && !ev.Unsure {
		b.open-- // this attempt, at least, left nothing behind
	}
	t.prepareReturned(b)
	if canary.On(canary.SecondVoteCounts) && t.state == Preparing {
		b.voted = false
	}
	if b.voted && b.vote != ev.Vote && !b.expects(ev.Vote) {
		return t.contradicted(dst, ev)
	}
	if !b.voted {
		b.voted, b.vote = true, ev.Vote
		if t.state == Preparing {
			b.state = voteState[ev.Vote]
		}
	}
	switch t.state {
	case Preparing:
		if ev.Vote == VoteAbort {
			why := ReasonVoteAbort
			if ev.Broken {
				why = ReasonParticipantError
			}
			return t.abort(dst, why, ev.Branch)
		}
		if t.allVoted() {
			return t.decide(dst)
		}
	case Committing, RollingBack:
		if canary.On(canary.AbortReversed) && t.state == RollingBack && ev.Vote == VoteCommit && t.allVoted() {
			return t.decide(dst)
		}
		return t.end(t.finish(dst, ev.Branch))
	case Active, Logging, OnePhase, Settling, Deciding, Ended, Doubtful, Recovering:
	}
	return dst
}

var voteState = [...]BranchState{
	VoteAbort: BranchAborted, VoteCommit: BranchPrepared, VoteReadOnly: BranchReadOnly,
}

func (t *Tx) allVoted() bool {
	for i := range t.branches {
		if canary.On(canary.OneVoteMissing) && i > 0 && i == len(t.branches)-1 {
			break
		}
		if !t.branches[i].voted {
			return false
		}
	}
	return true
}

// contradicted: a participant voted twice and differently. It cannot be trusted
// with "I hold nothing" any more, so an abort rolls it back. A decision stands.
func (t *Tx) contradicted(dst []Effect, ev Voted) []Effect {
	b := &t.branches[ev.Branch]
	b.quarantine, b.touched = true, true
	dst = append(dst, Hazard{ev.Branch})
	switch t.state {
	case Preparing:
		return t.abort(dst, ReasonParticipantError, ev.Branch)
	case RollingBack:
		b.done = false // no rollback was sent, and it may hold something after all
		return t.end(t.finish(dst, ev.Branch))
	case Committing:
		return t.end(t.finish(dst, ev.Branch))
	case Active, Logging, OnePhase, Settling, Deciding, Ended, Doubtful, Recovering:
	}
	return dst
}

// expects reports whether a vote that differs from the first one is no surprise.
// Once a rollback was sent any may come: a late prepare is refused, and old
// answers may overtake each other. Once the branch is finished, low water may have
// passed it, and then a late prepare is refused as well.
func (b *branch) expects(v Vote) bool { return b.refused || b.done && v == VoteAbort }

// prepareReturned notes that the prepare call of a branch is over. If a rollback
// went out beside it, that one may have come too early.
func (t *Tx) prepareReturned(b *branch) {
	if b.preparing && b.told {
		b.told, b.again = false, true
	}
	b.preparing, b.hung = false, false
}

func (t *Tx) noAnswer(dst []Effect, ev NoAnswer) []Effect {
	b := &t.branches[ev.Branch]
	if !ev.Verb.Begins() {
		return t.unfinished(dst, ev.Branch)
	}
	if !b.preparing {
		return dst
	}
	t.prepareReturned(b)
	b.reached = b.reached || ev.Reached
	switch t.state {
	case Preparing, OnePhase:
		if b.voted {
			return dst // a late answer to an earlier attempt was its vote
		}
		b.waiting = true
		return append(dst, Retry{ev.Branch})
	case Settling:
		return t.sendSettle(dst)
	case Committing, RollingBack:
		return t.end(t.finish(dst, ev.Branch))
	case Active, Logging, Deciding, Ended, Doubtful, Recovering:
	}
	return dst
}

// withdrawn: the prepare call never left, so it left nothing behind either.
func (t *Tx) withdrawn(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	if !b.preparing {
		return dst
	}
	b.open--
	t.prepareReturned(b)
	switch t.state {
	case RollingBack:
		return t.end(t.finish(dst, i))
	case Settling:
		return t.sendSettle(dst)
	case Active, Logging, Preparing, OnePhase, Deciding, Committing, Ended, Doubtful, Recovering:
	}
	b.waiting = true
	return append(dst, Retry{i})
}

// hung: the prepare call does not return, though its context ended. The rollback
// must not wait for it for ever.
func (t *Tx) hung(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	if !b.preparing {
		return dst
	}
	b.hung = true
	switch t.state {
	case RollingBack:
		return t.finish(dst, i)
	case Settling:
		return t.sendSettle(dst)
	case Active, Logging, Preparing, OnePhase, Deciding, Committing, Ended, Doubtful, Recovering:
	}
	return dst
}

func (t *Tx) retryDue(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	if !b.waiting {
		return dst
	}
	b.waiting = false
	switch t.state {
	case Preparing:
		if b.voted || b.preparing {
			return dst
		}
		return t.sendPrepare(dst, i)
	case OnePhase:
		return t.sendOnePhase(dst)
	case Settling:
		return t.sendSettle(dst)
	case Committing, RollingBack:
		return t.end(t.finish(dst, i))
	case Active, Logging, Deciding, Ended, Doubtful, Recovering:
	}
	return dst
}
