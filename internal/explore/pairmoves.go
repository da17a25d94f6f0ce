package explore

import (
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
)

// pairWhat is a kind of thing that may happen in a world of two.
type pairWhat uint8

const (
	request   pairWhat = iota // a client asks for a transaction
	syncLog                   // with a forced record in it
	giveUp                    // the prepare timeout passes and no prepare call is answered
	crashPair                 // arg: how many records survive
	restore                   // likewise, of those that were synced
	expire                    // the log drops what it holds of an ended transaction

	getPrepare // arg: the vote
	getCommit
	getRollback
	getLowWater // arg: the transactions below it
	dropRow
	answerVote
	answerFinish
	answerOrphan

	takeListing
	lookUp
	finishByHand // an operator finishes a branch at the participant, as was decided
	release
)

type pairMove struct {
	what pairWhat
	run  uint8
	at   uint8
	arg  uint8
}

// moves appends everything that may happen next.
func (w *pair) moves(r *PairRules, dst []pairMove) []pairMove {
	add := func(ok bool, m pairMove) {
		if ok {
			dst = append(dst, m)
		}
	}
	for i := range uint8(2) {
		add(w.asks(r, int(i)), pairMove{what: request, run: i})
		add(w.waits(r, int(i)), pairMove{what: giveUp, run: i})
		add(r.Restores == 0 && w.run[i].tx == nil && w.saysDurably(int(i)).has(endRecord), pairMove{what: expire, run: i})
		for p := range r.At[i] {
			dst = w.partMoves(dst, i, p)
		}
	}
	add(w.run[0].forced || w.run[1].forced, pairMove{what: syncLog})
	if w.run[0].begun && w.crashes < r.Crashes {
		for n := w.durable; n <= w.n; n++ {
			add(true, pairMove{what: crashPair, arg: n})
		}
		for n := uint8(1); n < w.durable && w.restores < r.Restores; n++ {
			add(true, pairMove{what: restore, arg: n})
		}
	}
	for p := range uint8(r.places()) {
		at := &w.at[p]
		for low := range uint8(4) {
			add(at.lowSent&(1<<low) != 0 && low&^at.low != 0, pairMove{what: getLowWater, at: p, arg: low})
		}
		held := w.prepared(r, int(p))
		add(at.listing && held != at.listed || !at.listing && (held != 0 || !at.swept), pairMove{what: takeListing, at: p})
		add(at.listing, pairMove{what: lookUp, at: p})
	}
	add(w.mayRelease(r), pairMove{what: release})
	return dst
}

// asks reports whether a client's request begins a transaction: each does once, in
// order. A request that is repeated joins what is live and is told what is remembered,
// and begins nothing.
func (w *pair) asks(r *PairRules, i int) bool {
	if w.run[i].begun || i == 0 {
		return !w.run[i].begun
	}
	first := &w.run[0]
	if !r.SameID {
		return first.begun
	}
	live := first.tx != nil && !canary.On(canary.RunIDTwice)
	remembered := w.says(0).has(endRecord) && !canary.On(canary.ForgetID)
	return first.begun && !live && !remembered
}

// waits reports whether a prepare call of a transaction is out.
func (w *pair) waits(r *PairRules, i int) bool {
	for p := range r.At[i] {
		if tx := w.run[i].tx; tx != nil && tx.Calling(int(p)) {
			return true
		}
	}
	return false
}

// partMoves are those of one branch.
func (w *pair) partMoves(dst []pairMove, i, p uint8) []pairMove {
	run := &w.run[i]
	b, row, below := &run.part[p], *w.row(int(i), int(p)), w.below(int(i), int(p))
	add := func(ok bool, what pairWhat, arg uint8) {
		if ok {
			dst = append(dst, pairMove{what, i, p, arg})
		}
	}
	first := b.sent&prepareSent != 0 && row == none && !below
	add(first, getPrepare, uint8(protocol.VoteCommit))
	add(first, getPrepare, uint8(protocol.VoteAbort))
	add(b.sent&commitSent != 0 && row == prepared, getCommit, 0)
	add(b.sent&rollbackSent != 0 && (row == prepared || row == none && !below), getRollback, 0)
	add(below && row != none && row != prepared, dropRow, 0)
	finished := row != prepared && (row != none || below)
	if tx := run.tx; tx != nil {
		add(!run.recovered && tx.Calling(int(p)) && !first, answerVote, 0)
		decided := tx.State() == protocol.Committing || tx.State() == protocol.RollingBack
		add(decided && !tx.Done(int(p)) && finished, answerFinish, 0)
	}
	add(b.adopted && finished, answerOrphan, 0)
	add(w.mayFinish(int(i), int(p)), finishByHand, 0)
	return dst
}
