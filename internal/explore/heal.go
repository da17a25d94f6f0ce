package explore

import "github.com/dtc-project/dtc/internal/protocol"

// heal returns what happens next in a world that is left in peace, and false when
// it has come to rest.
func (w *world) heal(r *Rules) (move, bool) {
	switch {
	case !w.begun:
		return move{what: begin}, true
	case w.replaying:
		return move{what: replayed}, true
	case w.poisoned:
		return move{what: restart}, true
	}
	for i := range r.Kinds {
		switch b := &w.branch[i]; {
		case b.cold:
			return move{what: warmUp, branch: uint8(i)}, true
		case b.sweep == sweepTold:
			return move{what: sweepAcked, branch: uint8(i)}, true
		}
	}
	if w.forced != noRecord {
		return move{what: logSynced}, true
	}
	for i := range r.Kinds {
		if m, ok := w.healCall(r, i); ok {
			m.branch = uint8(i)
			return m, true
		}
	}
	if w.tx != nil {
		return w.healTimers(r)
	}
	for i := range r.Kinds {
		if m, ok := w.healSweep(r, i); ok {
			m.branch = uint8(i)
			return m, true
		}
	}
	return move{}, false
}

// healCall lets the calls of one branch run, and return. One that hangs under a
// decision to roll back returns last, to see that the rollback does not wait.
func (w *world) healCall(r *Rules, i int) (move, bool) {
	b := &w.branch[i]
	switch {
	case b.prepare == queued:
		return move{what: leave}, true
	case b.hung && !b.beside && w.tx != nil && w.tx.State() == protocol.RollingBack:
		return move{}, false // it stays out until a rollback ran beside it
	case !r.remote(i) && b.prepare == out:
		return move{what: runPrepare, arg: uint8(protocol.VoteCommit)}, true
	case !r.remote(i) && b.prepare > out:
		return move{what: returns}, true
	case !r.remote(i) && b.finish == out:
		return move{what: runFinish}, true
	case !r.remote(i) && b.finish > out:
		return move{what: finishReturns}, true
	case b.prepare == out:
		for v := range uint8(3) {
			if b.answers&(votedAbort<<v) != 0 {
				return move{what: voted, arg: v}, true
			}
		}
		return move{what: takePrepare, arg: uint8(protocol.VoteCommit)}, true
	case b.finish == out && b.answers&acknowledged != 0:
		return move{what: acked}, true
	case b.finish == out && b.verb == protocol.Commit:
		return move{what: takeCommit}, true
	case b.finish == out:
		return move{what: takeRollback}, true
	}
	return move{}, false
}

// healTimers lets a timer fire when no call is out.
func (w *world) healTimers(r *Rules) (move, bool) {
	preparing := w.tx.State() == protocol.Preparing
	for i := range r.Kinds {
		if b := &w.branch[i]; b.asked && (!preparing || b.attempts < r.Attempts) {
			return move{what: retryDue, branch: uint8(i)}, true
		}
	}
	return move{what: timedOut}, preparing
}

// healSweep lets the sweep of one participant run, if it finds anything.
func (w *world) healSweep(r *Rules, i int) (move, bool) {
	b := &w.branch[i]
	switch {
	case b.sweep == sweepListed:
		return move{what: look}, true
	case !r.remote(i) || b.row != prepared:
		return move{}, false
	}
	for _, m := range w.sweepMoves(nil, i) {
		if m.what == look || m.what == list {
			return m, true
		}
	}
	return move{}, false
}
