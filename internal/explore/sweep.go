package explore

import (
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
)

// The transaction is the first of the first incarnation. All that matters of an
// incarnation is whether it is a later one.
var (
	firstIncarnation = protocol.Incarnation{Number: 1, Nonce: 1}
	laterIncarnation = protocol.Incarnation{Number: 2, Nonce: 2}
	firstHistory     = []protocol.Opening{{Incarnation: firstIncarnation, Through: 10}}
	laterHistory     = append(firstHistory, protocol.Opening{Incarnation: laterIncarnation, Through: 10})

	theXID    = protocol.XID{Incarnation: firstIncarnation, Seq: 1}
	firstNext = protocol.XID{Incarnation: firstIncarnation, Seq: 2}
	laterNext = protocol.XID{Incarnation: laterIncarnation, Seq: 1}
)

// sweepMoves are those of the sweep of a remote participant, and the traffic
// that carries low water to it.
func (w *world) sweepMoves(dst []move, i int) []move {
	b := &w.branch[i]
	add := func(what what, ok bool) {
		if ok {
			dst = append(dst, move{what: what, branch: uint8(i)})
		}
	}
	lookFirst := canary.On(canary.LookBeforeList)
	add(look, b.sweep == sweepListed || lookFirst && b.sweep == sweepIdle)
	add(list, !b.cold && (b.sweep == sweepLooked ||
		!lookFirst && (b.sweep == sweepListed || b.sweep == sweepIdle && (b.row == prepared || !b.swept))))
	add(sweepAcked, b.sweep == sweepTold && !b.cold)
	add(otherTraffic, b.sent&lowWaterSent == 0 && w.passes(i))
	return dst
}

// list takes a complete listing of the branches that are prepared.
func (s *step) list(i int) {
	b := &s.branch[i]
	shown := b.row == prepared
	if shown {
		s.tell("the branch is listed")
	} else {
		s.tell("the branch is not listed")
	}
	switch {
	case !shown:
		b.swept = true
		b.sweep = sweepIdle
	case b.sweep == sweepLooked:
		s.sweepRollback(i)
	default:
		b.sweep = sweepListed
	}
}

// look asks what may be done with the branch, as things are now.
func (s *step) look(i int) {
	b := &s.branch[i]
	verdict := protocol.Sweep(theXID, s.view())
	s.tell(verdict.String())
	switch {
	case verdict != protocol.RollBack:
		b.sweep = sweepIdle
	case b.sweep == sweepListed:
		s.sweepRollback(i)
	default:
		b.sweep = sweepLooked
	}
}

// adopted reports whether the sweep is rolling back a branch: until that is
// acknowledged, the branch stands in the live table too.
func (w *world) adopted() bool {
	for i := range w.branch {
		if w.branch[i].sweep == sweepTold {
			return true
		}
	}
	return false
}

// view is what the coordinator knows of the transaction.
func (s *step) view() protocol.View {
	v := protocol.View{Replayed: !s.replaying, Live: s.tx != nil || s.adopted()}
	if s.replaying {
		return v
	}
	v.History = firstHistory
	if s.later {
		v.History = laterHistory
	}
	switch {
	case s.log().has(commitRecord):
		v.Decision = protocol.Committed
	case s.log().has(abortRecord):
		v.Decision = protocol.RolledBack
	}
	return v
}

// sweepRollback sends a rollback for a branch that was listed.
func (s *step) sweepRollback(i int) {
	s.checkSweep(i)
	s.tellOf(i, "send rollback to %s")
	b := &s.branch[i]
	b.sweep = sweepTold
	b.sent |= rollbackSent
	s.sendLowWater(i)
}

// sweepAcked is a rollback sent by the sweep that arrives and is answered.
func (s *step) sweepAcked(i int) {
	b := &s.branch[i]
	ended := b.row == committed
	s.takeRollback(i)
	b.sweep = sweepIdle
	b.swept = b.swept || !ended
}

// passes reports whether low water at a participant is above the transaction.
func (w *world) passes(i int) bool {
	v := protocol.LowWaterView{Replayed: !w.replaying, Swept: w.branch[i].swept, Next: firstNext}
	if w.later {
		v.Next = laterNext
	}
	if !w.begun {
		return false
	}
	if w.tx != nil && !w.tx.Done(i) || w.branch[i].sweep == sweepTold {
		v.Oldest = theXID
	}
	return protocol.LowWater(v).Compare(theXID) > 0
}

// sendLowWater sends low water along with another message, if it says anything
// about the transaction.
func (s *step) sendLowWater(i int) {
	if s.passes(i) {
		s.checkLowWater(i)
		s.tellOf(i, "send low water above the transaction to %s")
		s.branch[i].sent |= lowWaterSent
	}
}
