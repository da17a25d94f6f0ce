package explore

import "github.com/dtc-project/dtc/internal/protocol"

// onceWhat is a kind of thing that may happen in a world of one phase.
type onceWhat uint8

const (
	askFor        onceWhat = iota // a client makes its request; arg 1: its function fails
	retire                        // nobody makes it again, and its time is over
	statementSync                 // the operator's statement is durable
	statementLost                 // the log refuses it
	logBreaks
	onceCrash // arg: how many records survive
	onceRestart

	onceLeaves
	onceWithdrawn
	onceHangs
	onceRetry
	onceTimeout
	onceCancel
	hearVote    // arg: the vote
	hearError   // the call returns an error that may mean anything
	hearNothing // the call returns, and tells nothing
	hearSettled // arg: the outcome
	hearEnded   // likewise, as an error that says so
	settleFails // the settle call tells nothing
	stateIt     // an operator states arg

	// At the participant, about a run.
	getOnePhase // the work begins, or an answer is sent
	voteNo
	commitWork
	proveWork // the sin's second step
	getSettle

	partyCrash
	raiseFence // other traffic of the current incarnation arrives
	raiseLow   // and says how far low water is
	dropProof
	dropSeals
)

type onceMove struct {
	what onceWhat
	run  uint8
	arg  uint8
}

// moves appends everything that may happen next.
func (w *onceWorld) moves(r *OnceRules, dst []onceMove) []onceMove {
	add := func(ok bool, m onceMove) {
		if ok {
			dst = append(dst, m)
		}
	}
	asks := w.tx == nil && w.past == protocol.OutcomeUnknown && !w.retired && !w.poisoned && w.runs < r.Runs
	add(asks, onceMove{what: askFor})
	add(asks, onceMove{what: askFor, arg: 1})
	add(r.Dropping && !w.retired && w.runs > 0 && w.tx == nil, onceMove{what: retire})
	stating := w.stating != protocol.OutcomeUnknown
	add(stating, onceMove{what: statementSync})
	add(stating && w.faults < r.LogFaults, onceMove{what: statementLost})
	add(w.runs > 0 && !w.poisoned && w.faults < r.LogFaults, onceMove{what: logBreaks})
	if w.runs > 0 && w.crashes < r.Crashes {
		for n := w.durable; n <= w.n; n++ {
			add(true, onceMove{what: onceCrash, arg: n})
		}
	}
	if w.tx != nil {
		dst = w.callMoves(r, dst)
	}
	for i := range int(w.runs) {
		dst = w.partyMoves(dst, i)
	}
	at := &w.at
	add(at.working|at.unproven != 0 || r.Sin == forgetsSeals && at.sealed != 0, onceMove{what: partyCrash})
	add(at.fence < w.opening, onceMove{what: raiseFence})
	add(at.low < w.lowWater(), onceMove{what: raiseLow})
	over := w.retired && at.low == w.runs // no copy of the request may come any more
	add(over && at.evidence != 0, onceMove{what: dropProof})
	add(over && at.sealed != 0, onceMove{what: dropSeals})
	return dst
}

// callMoves are those of the driver's calls, timers and operators.
func (w *onceWorld) callMoves(r *OnceRules, dst []onceMove) []onceMove {
	add := func(ok bool, m onceMove) {
		if ok {
			dst = append(dst, m)
		}
	}
	state := w.tx.State()
	add(w.call == queued && state == protocol.OnePhase, onceMove{what: onceLeaves})
	add(w.call == queued, onceMove{what: onceWithdrawn})
	add(w.call == out && !w.hung, onceMove{what: onceHangs})
	add(w.asked, onceMove{what: onceRetry})
	add(state == protocol.OnePhase, onceMove{what: onceTimeout})
	add(state == protocol.OnePhase, onceMove{what: onceCancel})
	if w.call != queued { // out, or an answer to an earlier attempt
		add(w.answers&heardCommit != 0, onceMove{what: hearVote, arg: uint8(protocol.VoteCommit)})
		add(w.answers&heardAbort != 0, onceMove{what: hearVote, arg: uint8(protocol.VoteAbort)})
	}
	add(w.call == out, onceMove{what: hearError})
	add(w.call == out, onceMove{what: hearNothing})
	if w.settling {
		for _, h := range [...]heard{heardCommitted, heardRolledBack, heardDropped} {
			add(w.answers&h != 0, onceMove{what: hearSettled, arg: uint8(h)})
			add(w.answers&h != 0 && h != heardDropped, onceMove{what: hearEnded, arg: uint8(h)})
		}
		add(true, onceMove{what: settleFails})
	}
	if state == protocol.Settling && !w.poisoned && w.stating == protocol.OutcomeUnknown && w.statements < r.Statements {
		add(true, onceMove{what: stateIt, arg: uint8(protocol.Committed)})
		add(true, onceMove{what: stateIt, arg: uint8(protocol.RolledBack)})
	}
	return dst
}

func (w *onceWorld) partyMoves(dst []onceMove, i int) []onceMove {
	add := func(what onceWhat, ok bool) {
		if ok {
			dst = append(dst, onceMove{what: what, run: uint8(i)})
		}
	}
	add(getOnePhase, w.run[i].sent&onePhaseSent != 0)
	add(voteNo, w.at.working.has(i))
	add(commitWork, w.at.working.has(i))
	add(proveWork, w.at.unproven.has(i))
	add(getSettle, w.run[i].sent&settleSent != 0)
	return dst
}
