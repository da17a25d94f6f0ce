package protocol

import "github.com/dtc-project/dtc/internal/canary"

// Tx is one transaction: what the coordinator knows of it, and nothing else. The
// zero value is not usable; see [New] and [Recover].
type Tx struct {
	state     State
	outcome   Outcome
	why       Code
	whose     int  // the branch that caused the rollback, or -1
	logged    bool // the prepare record was handed to the log
	once      bool // it has one branch, which may commit in one phase
	mayBeDone bool // it has one branch, which may be committed: see [Tx.MayBeDone]
	stopped   Code // a cancellation that came while the prepare record was forced
	branches  []branch
}

// New returns a transaction without branches, in state [Active], with room for
// that many.
func New(room int) Tx { return Tx{whose: -1, branches: make([]branch, 0, room)} }

// Reset makes t what [New] returns, whatever it was, and keeps its memory if that
// is room enough.
func (t *Tx) Reset(room int) {
	branches := t.branches[:0]
	if cap(branches) < room {
		branches = make([]branch, 0, room)
	}
	*t = Tx{whose: -1, branches: branches}
}

// Enlist adds a branch and returns its index. Plain says that the participant
// cannot list what it holds in doubt; touched that work is done for the branch
// before it is asked to prepare, so that it must be rolled back even then.
// Branches are frozen by [Begun]: afterwards Enlist returns -1.
func (t *Tx) Enlist(plain, touched bool) int {
	if t.state != Active {
		return -1
	}
	t.branches = append(t.branches, branch{plain: plain, touched: touched})
	return len(t.branches) - 1
}

// State returns how far the transaction has come.
func (t *Tx) State() State { return t.state }

// Outcome returns what may be told: OutcomeUnknown until [Tell].
func (t *Tx) Outcome() Outcome {
	if t.outcome != OutcomeUnknown && t.heuristic() {
		return Heuristic
	}
	return t.outcome
}

// Decision returns Committed or RolledBack once that is decided and may be told.
func (t *Tx) Decision() Outcome { return t.outcome }

// Why returns the reason of a rollback, and the branch that caused it or -1.
func (t *Tx) Why() (Code, int) { return t.why, t.whose }

// Logged reports whether the transaction stands in the log.
func (t *Tx) Logged() bool { return t.logged }

// Log notes that a transaction which was rolled back before anything of it had to be
// logged stands in the log after all, with its decision: now its end must follow.
func (t *Tx) Log() { t.logged = true }

// Len returns the number of branches.
func (t *Tx) Len() int { return len(t.branches) }

// Plain reports whether a branch is plain, so that the prepare record is forced.
func (t *Tx) Plain() bool {
	for i := range t.branches {
		if t.branches[i].plain {
			return true
		}
	}
	return false
}

// Branch returns the state of a branch.
func (t *Tx) Branch(i int) BranchState {
	if b := &t.branches[i]; b.quarantine && !b.done {
		return BranchQuarantined
	}
	return t.branches[i].state
}

// IsPlain reports whether a branch was enlisted as plain.
func (t *Tx) IsPlain(i int) bool { return t.branches[i].plain }

// Calling reports whether a prepare call of a branch is out.
func (t *Tx) Calling(i int) bool { return t.branches[i].preparing }

// Vote returns the first definitive vote of a branch, and whether there is one.
func (t *Tx) Vote(i int) (Vote, bool) { return t.branches[i].vote, t.branches[i].voted }

// Done reports whether there is positive evidence that a branch is finished.
func (t *Tx) Done(i int) bool { return t.branches[i].done }

// Step tells the machine what has happened, and appends to dst what must be done
// about it, in order.
func (t *Tx) Step(dst []Effect, ev Event) []Effect {
	switch ev := ev.(type) {
	case Begun:
		return t.begun(dst)
	case Recovered:
		return t.recovered(dst)
	case Synced:
		return t.synced(dst)
	case Refused:
		return t.refused(dst)
	case LogFailed:
		return t.logFailed(dst)
	case Voted:
		if t.once {
			return t.onceVoted(dst, ev)
		}
		return t.voted(dst, ev)
	case Settled:
		return t.settled(dst, ev)
	case Stating:
		return t.stating(dst, ev.Branch)
	case Withdrawn:
		return t.withdrawn(dst, ev.Branch)
	case NoAnswer:
		return t.noAnswer(dst, ev)
	case Hung:
		return t.hung(dst, ev.Branch)
	case RetryDue:
		return t.retryDue(dst, ev.Branch)
	case Acked:
		return t.acked(dst, ev.Branch)
	case Unknown:
		return t.unknown(dst, ev.Branch)
	case FinishedOtherwise:
		return t.finishedOtherwise(dst, ev)
	case Resolved:
		return t.resolved(dst, ev)
	case TimedOut:
		return t.timedOut(dst)
	case Cancelled:
		return t.cancelled(dst, ev.Code)
	}
	return dst
}

// begun freezes the branches and hands the prepare record to the log. It is
// always handed over before a prepare leaves; only a plain branch makes anything
// wait for it.
func (t *Tx) begun(dst []Effect) []Effect {
	if t.state != Active {
		return dst
	}
	if len(t.branches) == 0 {
		t.state, t.outcome = Ended, Committed
		return append(dst, Tell{Committed}, Forget{})
	}
	t.logged = true
	if t.once {
		t.state = OnePhase
		return t.sendOnePhase(append(dst, AppendOnePhase{}))
	}
	if t.Plain() && !canary.On(canary.PlainNotForced) {
		t.state = Logging
		return append(dst, AppendPrepare{Force: true})
	}
	return t.sendPrepares(append(dst, AppendPrepare{}))
}

func (t *Tx) sendPrepares(dst []Effect) []Effect {
	t.state = Preparing
	for i := range t.branches {
		dst = t.sendPrepare(dst, i)
	}
	return dst
}

func (t *Tx) sendPrepare(dst []Effect, i int) []Effect {
	b := &t.branches[i]
	b.state, b.preparing = BranchPreparing, true
	b.open++
	return append(dst, SendPrepare{i})
}

// synced: the record we forced is durable. For the decision this is the moment
// after which it may be told.
func (t *Tx) synced(dst []Effect) []Effect {
	switch t.state {
	case Logging:
		if t.stopped != NoReason {
			return t.abort(dst, t.stopped, -1)
		}
		return t.sendPrepares(dst)
	case Deciding:
		return t.commit(dst)
	case Active, Preparing, OnePhase, Settling, Committing, RollingBack, Ended, Doubtful, Recovering:
	}
	return dst
}

// refused: the record is not in the log and never will be.
func (t *Tx) refused(dst []Effect) []Effect {
	switch t.state {
	case Logging, Preparing, OnePhase:
		return t.unbegun(dst)
	case Deciding:
		return t.abort(dst, ReasonShuttingDown, -1)
	case Settling:
		return t.unstated(dst)
	case Active, Committing, RollingBack, Ended, Doubtful, Recovering:
	}
	return dst
}

// unbegun: the log did not take the prepare record, and nobody was asked to prepare. Who may
// have worked for the transaction while it grew hears of it all the same.
func (t *Tx) unbegun(dst []Effect) []Effect {
	t.logged = false
	dst = append(dst, Refuse{})
	touched := false
	for i := range t.branches {
		b := &t.branches[i]
		b.preparing, b.open = false, 0
		touched = touched || b.touched
	}
	switch {
	case !touched:
		t.state = Ended
		return append(dst, Forget{})
	case t.once:
		return t.settle(dst, ReasonShuttingDown, -1)
	}
	t.state, t.outcome, t.why = RollingBack, RolledBack, ReasonShuttingDown
	for i := range t.branches {
		dst = t.finish(dst, i)
	}
	return t.end(dst)
}

// logFailed: nobody here can know. A prepare record that may be durable binds
// nobody, since no prepare has left; a decision that may be durable silences us.
func (t *Tx) logFailed(dst []Effect) []Effect {
	switch t.state {
	case Logging:
		return t.refused(dst)
	case Deciding:
		t.state = Doubtful
		return append(dst, Tell{OutcomeUnknown})
	case Settling:
		return t.doubtful(dst)
	case Active, Preparing, OnePhase, Committing, RollingBack, Ended, Doubtful, Recovering:
	}
	return dst
}

// decide is called when every branch has voted and none against.
func (t *Tx) decide(dst []Effect) []Effect {
	for i := range t.branches {
		if canary.On(canary.ReadOnlyDecides) && t.branches[0].vote == VoteReadOnly {
			break
		}
		if t.branches[i].vote == VoteCommit || t.mayBeDone {
			t.state = Deciding
			dst = append(dst, ForceCommit{})
			if canary.On(canary.TellBeforeSync) {
				return t.commit(dst)
			}
			return dst
		}
	}
	return t.commit(dst) // all read-only: there is nothing to lose
}

// commit is phase two of a decision that may be told.
func (t *Tx) commit(dst []Effect) []Effect {
	t.state, t.outcome = Committing, Committed
	dst = append(dst, Tell{Committed})
	for i := range t.branches {
		dst = t.finish(dst, i)
	}
	return t.end(dst)
}

// abort decides to roll back. Nothing waits for its record: without one the
// answer is the same. whose is the branch that caused it, or -1.
func (t *Tx) abort(dst []Effect, why Code, whose int) []Effect {
	t.state, t.outcome, t.why, t.whose = RollingBack, RolledBack, why, whose
	if t.logged {
		dst = append(dst, AppendAbort{})
	}
	return t.rollBack(dst)
}

// rollBack is phase two of a decision to roll back.
func (t *Tx) rollBack(dst []Effect) []Effect {
	dst = append(dst, Tell{RolledBack})
	for i := range t.branches {
		t.branches[i].waiting = false // a retry of prepare is pointless now
		dst = t.finish(dst, i)
	}
	return t.end(dst)
}

func (t *Tx) timedOut(dst []Effect) []Effect {
	if t.state != Preparing && t.state != OnePhase {
		return dst
	}
	for i := range t.branches {
		b := &t.branches[i]
		if b.voted {
			continue
		}
		why := ReasonUnreachable
		if b.reached || b.preparing {
			why = ReasonPrepareTimeout
		}
		if t.once {
			return t.settle(dst, why, i)
		}
		return t.abort(dst, why, i)
	}
	return dst
}

func (t *Tx) cancelled(dst []Effect, why Code) []Effect {
	switch t.state {
	case Active, Preparing, OnePhase:
		if t.once {
			return t.settle(dst, why, -1)
		}
		return t.abort(dst, why, -1)
	case Logging:
		t.stopped = why // the record is on its way: wait for it, then abort
	case Settling, Deciding, Committing, RollingBack, Ended, Doubtful, Recovering:
	}
	return dst
}
