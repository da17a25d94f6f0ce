package explore

import (
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
)

// pairStep makes one move in a world of two, like step.
type pairStep struct {
	*pair
	notes
	r       *PairRules
	effects []protocol.Effect
}

func (s *pairStep) in(w *pair) { s.pair = w }

// make makes a move, and sends low water wherever it has risen: it may be under way
// for ever.
func (s *pairStep) make(m pairMove) {
	if s.say != nil {
		s.say(m.words())
	}
	s.act(m)
	for p := range s.r.places() {
		if s.r.reduces(listingNow) {
			s.listNow(p)
		}
	}
	for p := range s.r.places() {
		low := s.lowWater(p)
		s.checkLowWater(p, low)
		s.at[p].lowSent |= 1 << low
	}
	s.check()
}

func (s *pairStep) act(m pairMove) {
	i, p := int(m.run), int(m.at)
	run := &s.run[i]
	b := &run.part[p]
	switch m.what {
	case request:
		s.begin(i)
	case syncLog:
		s.sync()
	case giveUp:
		for p := range s.r.At[i] {
			s.event(i, protocol.NoAnswer{Branch: int(p), Verb: protocol.Prepare})
		}
		s.event(i, protocol.TimedOut{})
	case crashPair:
		s.crash(m.arg, false)
	case restore:
		s.restores++
		s.crash(m.arg, true)
	case expire:
		s.expire(i)
	case getPrepare, getCommit, getRollback:
		s.arrive(m)
	case getLowWater:
		s.at[p].low |= m.arg
	case dropRow:
		*s.row(i, p) = none
	case answerVote:
		vote := protocol.VoteAbort
		if row := *s.row(i, p); row == prepared || row == committed {
			vote = protocol.VoteCommit
		}
		s.event(i, protocol.Voted{Branch: p, Vote: vote})
	case answerFinish:
		s.answerFinish(i, p)
	case answerOrphan:
		b.adopted = false
		if *s.row(i, p) == committed {
			s.fail("I6", "the sweep is told that a branch had committed")
		}
	case takeListing:
		s.list(p)
	case lookUp:
		s.lookUp(p)
	case finishByHand:
		s.finishByHand(i, p)
	case release:
		s.release()
	}
	if *s.row(i, p) != prepared {
		b.orphan = false
	}
}

// row is where a participant keeps the row of a branch: under its XID.
func (w *pair) row(r, p int) *row {
	if canary.On(canary.BranchByID) {
		r = 0
	}
	return &w.run[r].part[p].row
}

// arrive lets a request arrive that changes a row.
func (s *pairStep) arrive(m pairMove) {
	b, row := &s.run[m.run].part[m.at], s.row(int(m.run), int(m.at))
	switch {
	case m.what == getCommit:
		*row, b.committed = committed, true
	case m.what == getRollback:
		*row, b.undone = rolledBack, true
	case protocol.Vote(m.arg) == protocol.VoteAbort:
		*row = rolledBack
	default:
		*row = prepared
		if b.committed {
			s.fail("I7", "a branch is prepared again that had committed")
		}
		if b.undone {
			s.fail("I8", "a branch is prepared after it was rolled back")
		}
	}
}

// begin registers a transaction and starts it.
func (s *pairStep) begin(i int) {
	run := &s.run[i]
	run.begun, run.opening, run.seq = true, s.openings-1, s.next
	s.next++
	s.checkBegin(i)
	tx := protocol.New(0)
	run.tx = &tx
	for range s.r.At[i] {
		tx.Enlist(false, false)
	}
	s.event(i, protocol.Begun{})
}

// event tells a machine what has happened and does what it asks for.
func (s *pairStep) event(i int, ev protocol.Event) {
	run := &s.run[i]
	if run.tx == nil {
		return
	}
	run.tx = run.tx.Clone()
	s.effects = run.tx.Step(s.effects[:0], ev)
	for _, e := range s.effects {
		s.do(i, e)
	}
}

func (s *pairStep) do(i int, e protocol.Effect) {
	run := &s.run[i]
	switch e := e.(type) {
	case protocol.AppendPrepare:
		s.append(prepareRecord, i)
	case protocol.ForceCommit:
		s.checkDecision(i)
		s.append(commitRecord, i)
		run.forced = true
	case protocol.AppendAbort:
		if run.recovered && s.covered(i) {
			s.failOf(i, "I5", "is covered by a hold, and recovery rolls it back")
		}
		s.append(abortRecord, i)
	case protocol.AppendEnd:
		s.append(endRecord, i)
	case protocol.SendPrepare:
		run.part[e.Branch].sent |= prepareSent
	case protocol.SendCommit:
		if !run.decided {
			s.fail("I3", "a commit is sent that is not durable")
		}
		run.part[e.Branch].sent |= commitSent
	case protocol.SendRollback:
		run.part[e.Branch].sent |= rollbackSent
	case protocol.Tell:
		s.tellClient(i, e.Outcome)
	case protocol.Hazard:
		s.fail("I6", "an alarm is raised over an honest participant")
	case protocol.Forget:
		s.checkForget(i)
		run.tx, run.recovered = nil, false
	case protocol.AppendOnePhase, protocol.SendOnePhase, protocol.SendSettle, protocol.Interrupt:
		s.fail("calls", "the machine asks for what belongs to one phase")
	case protocol.Retry, protocol.Refuse: // requests arrive again anyhow; the log refuses nothing
	}
}

// answerFinish gives a participant's answer to a commit or rollback.
func (s *pairStep) answerFinish(i, p int) {
	commits := s.run[i].tx.State() == protocol.Committing
	switch row := *s.row(i, p); {
	case commits && row == rolledBack:
		s.event(i, protocol.FinishedOtherwise{Branch: p, Outcome: protocol.RolledBack})
	case !commits && row == committed:
		s.event(i, protocol.FinishedOtherwise{Branch: p, Outcome: protocol.Committed})
	default:
		s.event(i, protocol.Acked{Branch: p})
	}
}
