package explore

import "github.com/dtc-project/dtc/internal/protocol"

// heal returns what happens next in a world that is left in peace, and false when it
// has come to rest. A call that hangs returns last, to see that nothing waits for it.
func (w *onceWorld) heal(r *OnceRules) (onceMove, bool) {
	switch {
	case w.runs == 0:
		return onceMove{what: askFor}, r.Runs > 0
	case w.poisoned:
		return onceMove{what: onceRestart}, true
	case w.stating != protocol.OutcomeUnknown:
		return onceMove{what: statementSync}, true
	case w.tx == nil:
		return onceMove{}, false
	case w.call == queued && w.tx.State() == protocol.OnePhase:
		return onceMove{what: onceLeaves}, true
	case w.call == queued:
		return onceMove{what: onceWithdrawn}, true
	case w.settling:
		return w.healSettle(), true
	case w.asked:
		return onceMove{what: onceRetry}, true
	case w.hung && w.tx.State() == protocol.OnePhase:
		return onceMove{what: onceTimeout}, true
	case w.hung:
		return onceMove{what: hearNothing}, true
	case w.call == out:
		return w.healCall(), true
	}
	return onceMove{}, false
}

func (w *onceWorld) healSettle() onceMove {
	for _, h := range [...]heard{heardCommitted, heardRolledBack, heardDropped} {
		if w.answers&h != 0 {
			return onceMove{what: hearSettled, arg: uint8(h)}
		}
	}
	return onceMove{what: getSettle, run: uint8(w.last())}
}

func (w *onceWorld) healCall() onceMove {
	run := uint8(w.last())
	switch {
	case w.answers&heardCommit != 0:
		return onceMove{what: hearVote, arg: uint8(protocol.VoteCommit)}
	case w.answers&heardAbort != 0:
		return onceMove{what: hearVote, arg: uint8(protocol.VoteAbort)}
	case w.at.unproven.has(int(run)):
		return onceMove{what: proveWork, run: run}
	case w.at.working.has(int(run)):
		return onceMove{what: commitWork, run: run}
	case w.dropped(int(run)):
		return onceMove{what: hearNothing}
	}
	return onceMove{what: getOnePhase, run: run}
}
