package explore

import "github.com/dtc-project/dtc/internal/protocol"

// what is a kind of thing that may happen.
type what uint8

const (
	begin what = iota
	logSynced
	logRefuses
	logFails
	truncate
	crash   // arg: how many records of the tail survive
	restart // somebody restarts the process with the failed log
	replayed

	leave
	withdraw
	voted // arg: the vote
	acked
	notKnown
	endedOtherwise
	noAnswerPrepare
	noAnswerFinish
	hung
	retryDue
	timedOut
	cancelled

	takePrepare // at a remote participant; arg: the vote if it is asked first
	takeCommit
	takeRollback
	takeLowWater
	prune
	goCold
	warmUp
	takeCold // a request arrives at a participant that is cold for that moment

	runPrepare   // at a local participant; arg: the vote if it is asked first
	runFinish    // arg: 1 if its storage is cold for that moment
	returns      // the call of prepare, with its vote
	returnsError // the call of prepare, with an error that is no definite vote
	finishReturns

	list
	look
	sweepAcked
	otherTraffic
)

// move is one thing that happens.
type move struct {
	what   what
	branch uint8
	arg    uint8
}

func (r *Rules) remote(i int) bool { return r.Kinds[i] == Remote }

// moves appends everything that may happen next.
func (w *world) moves(r *Rules, dst []move) []move {
	add := func(what what, ok bool) {
		if ok {
			dst = append(dst, move{what: what})
		}
	}
	if !w.begun {
		add(begin, true)
	}
	state := protocol.Ended
	if w.tx != nil {
		state = w.tx.State()
	}
	add(timedOut, w.tx != nil)
	add(cancelled, w.tx != nil)
	add(logSynced, w.forced != noRecord && !w.poisoned)
	add(logRefuses, w.forced != noRecord && (w.poisoned || w.logFaults < r.LogFaults))
	add(logFails, w.begun && !w.poisoned && !w.replaying && w.logFaults < r.LogFaults)
	add(truncate, w.log().has(endRecord) && !w.poisoned && !w.replaying)
	add(replayed, w.replaying)
	if w.begun && w.mayCrash(r) {
		for n := range w.unsynced + 1 {
			dst = append(dst, move{what: crash, arg: n})
		}
	}
	for i := range r.Kinds {
		if w.tx != nil {
			dst = w.callMoves(r, dst, i, state)
		}
		if r.remote(i) {
			dst = w.remoteMoves(r, dst, i)
			dst = w.sweepMoves(dst, i)
		} else {
			dst = w.localMoves(r, dst, i)
		}
	}
	return dst
}

// callMoves are those of the driver's calls and timers for one branch.
func (w *world) callMoves(r *Rules, dst []move, i int, state protocol.State) []move {
	b := &w.branch[i]
	add := func(what what, ok bool) {
		if ok {
			dst = append(dst, move{what: what, branch: uint8(i)})
		}
	}
	add(leave, b.prepare == queued)
	add(withdraw, b.prepare == queued && r.Withdrawals)
	add(retryDue, state != protocol.Preparing || b.attempts < r.Attempts)
	add(hung, b.prepare > queued && !b.hung && (!r.remote(i) || r.HungRemotes))
	if !r.remote(i) {
		return dst
	}
	for v := range uint8(3) {
		if b.answers&(votedAbort<<v) != 0 {
			dst = append(dst, move{voted, uint8(i), v})
		}
	}
	add(acked, b.answers&acknowledged != 0)
	add(notKnown, b.answers&unknown != 0)
	add(endedOtherwise, b.answers&(endedCommitted|endedRolledBack) != 0)
	add(noAnswerPrepare, b.prepare == out)
	add(noAnswerFinish, b.finish == out)
	return dst
}

func (w *world) remoteMoves(r *Rules, dst []move, i int) []move {
	b := &w.branch[i]
	add := func(what what, ok bool) {
		if ok {
			dst = append(dst, move{what: what, branch: uint8(i)})
		}
	}
	if b.sent&prepareSent != 0 && !b.cold {
		if b.row == none && !b.lowWater {
			dst = r.votes(dst, move{what: takePrepare, branch: uint8(i)})
		} else {
			add(takePrepare, true)
		}
	}
	add(takeCommit, b.sent&commitSent != 0)
	add(takeRollback, b.sent&rollbackSent != 0)
	add(takeCold, w.tx != nil && r.coldAnswers() && b.sent&(commitSent|rollbackSent) != 0)
	add(takeLowWater, b.sent&lowWaterSent != 0 && !b.lowWater)
	add(prune, b.lowWater && b.row != none && b.row != prepared)
	add(goCold, w.mayChill(r, i))
	add(warmUp, b.cold)
	return dst
}

func (w *world) localMoves(r *Rules, dst []move, i int) []move {
	b := &w.branch[i]
	add := func(what what, ok bool) {
		if ok {
			dst = append(dst, move{what: what, branch: uint8(i)})
		}
	}
	if b.prepare == out && !b.cold {
		if b.row == none {
			dst = r.votes(dst, move{what: runPrepare, branch: uint8(i)})
		} else {
			add(runPrepare, true)
		}
	}
	add(runFinish, b.finish == out)
	if b.finish == out && r.coldAnswers() {
		dst = append(dst, move{runFinish, uint8(i), 1})
	}
	add(returns, b.prepare > out)
	add(returnsError, r.UnsureAnswers && b.prepare > queued)
	add(noAnswerPrepare, b.prepare > queued)
	add(finishReturns, b.finish > out)
	add(noAnswerFinish, b.finish > queued)
	add(goCold, w.mayChill(r, i))
	add(warmUp, b.cold)
	return dst
}

// votes appends m with every vote that a participant may choose.
func (r *Rules) votes(dst []move, m move) []move {
	for _, v := range [...]protocol.Vote{protocol.VoteCommit, protocol.VoteAbort, protocol.VoteReadOnly} {
		if v != protocol.VoteReadOnly || r.ReadOnly {
			m.arg = uint8(v)
			dst = append(dst, m)
		}
	}
	return dst
}
