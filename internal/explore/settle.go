package explore

import (
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
)

// settle makes, after each move, the moves that need not wait: those after which
// everything is still possible that was possible before.
func (s *step) settle() {
	for i := range s.r.Kinds {
		if !s.r.remote(i) {
			continue
		}
		if s.r.reduces(listingNow) && !canary.On(canary.LookBeforeList) {
			s.settleListing(i)
		}
		if s.r.reduces(lowWaterNow) {
			s.settleLowWater(i)
		}
		if s.r.reduces(answersNow) && s.tx != nil {
			s.settleAnswers(i)
		}
	}
}

// settleListing takes the listing that may be taken. What it showed may be looked
// up later, or given up for another one; what it did not show is settled.
func (s *step) settleListing(i int) {
	b := &s.branch[i]
	if b.cold || b.sweep != sweepIdle || b.row != prepared && b.swept {
		return
	}
	s.atOnce(move{what: list, branch: uint8(i)})
	s.list(i)
}

// settleLowWater sends low water above the transaction as soon as it is there,
// and lets it arrive where a row stands: that one answers, whatever low water
// says.
func (s *step) settleLowWater(i int) {
	b := &s.branch[i]
	if b.sent&lowWaterSent == 0 && s.passes(i) {
		s.atOnce(move{what: otherTraffic, branch: uint8(i)})
		s.sendLowWater(i)
	}
	if b.sent&lowWaterSent != 0 && !b.lowWater && b.row != none {
		s.atOnce(move{what: takeLowWater, branch: uint8(i)})
		b.lowWater = true
	}
}

// settleAnswers lets everything arrive that only makes the participant answer.
func (s *step) settleAnswers(i int) {
	b := &s.branch[i]
	if b.sent&prepareSent != 0 && (b.row != none || b.lowWater) {
		s.settleAnswer(move{takePrepare, uint8(i), uint8(protocol.VoteCommit)})
	}
	if b.sent&commitSent != 0 {
		s.settleAnswer(move{what: takeCommit, branch: uint8(i)})
	}
	if b.sent&rollbackSent != 0 {
		s.settleAnswer(move{what: takeRollback, branch: uint8(i)})
	}
	if s.r.coldAnswers() && b.sent&(commitSent|rollbackSent) != 0 {
		s.settleAnswer(move{what: takeCold, branch: uint8(i)})
	}
}

func (s *step) settleAnswer(m move) {
	b := &s.branch[m.branch]
	before, say := *b, s.say
	s.say = nil
	s.act(m)
	s.say = say
	answers := b.answers
	if b.row != before.row || answers == before.answers || b.cold && m.what == takePrepare {
		*b = before
		return
	}
	s.atOnce(m)
	*b = before
	s.act(m)
}

// atOnce adds a move that did not wait to the trace.
func (s *step) atOnce(m move) {
	if s.say != nil {
		s.tell("and at once: " + s.words(m))
	}
}
