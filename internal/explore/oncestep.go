package explore

import "github.com/dtc-project/dtc/internal/protocol"

// onceStep makes one move in a world of one phase, like step.
type onceStep struct {
	*onceWorld
	notes
	r       *OnceRules
	effects []protocol.Effect
	stated  bool // what the machine tells now, it tells because an operator has said so
}

func (s *onceStep) in(w *onceWorld) { s.onceWorld = w }

func (s *onceStep) make(m onceMove) {
	if s.say != nil {
		s.say(m.words())
	}
	s.act(m)
	s.check()
}

func (s *onceStep) act(m onceMove) {
	i := int(m.run)
	switch m.what {
	case askFor:
		s.begin(m.arg != 0)
	case retire:
		s.retired = true
	case statementSync, statementLost, logBreaks:
		s.logMove(m.what)
	case onceCrash:
		s.crashes++
		s.crash(m.arg)
	case onceRestart:
		s.crash(s.n)
	case onceLeaves:
		s.leaves()
	case onceWithdrawn, onceHangs, onceRetry, onceTimeout, onceCancel, hearError, hearNothing, settleFails:
		s.driverMove(m.what)
	case hearVote:
		s.vote(protocol.Vote(m.arg))
	case hearSettled, hearEnded:
		s.hearSettled(heard(m.arg), m.what == hearEnded)
	case stateIt:
		s.state(protocol.Outcome(m.arg))
	case getOnePhase:
		s.arrive(i)
	case voteNo:
		s.refuse(i)
	case commitWork:
		s.commit(i)
	case proveWork:
		s.prove(i)
	case getSettle:
		s.settle(i)
	case partyCrash:
		s.crashParty()
	case raiseFence:
		s.raise(s.opening)
	case raiseLow:
		s.at.low = s.lowWater()
	case dropProof:
		s.at.evidence = 0
	case dropSeals:
		s.at.sealed = 0
	}
}

// begin begins the id, or gives it up while its function still runs.
func (s *onceStep) begin(fails bool) {
	if s.n != 0 {
		s.fail("I4", "an id runs again that the log has not forgotten")
	}
	s.run[s.runs].opening = s.opening
	s.runs++
	tx := protocol.New(0)
	s.tx = &tx
	s.tx.Enlist(false, true)
	s.tx.MayOnePhase()
	if fails {
		s.event(protocol.Cancelled{Code: protocol.ReasonCancelled})
		return
	}
	s.event(protocol.Begun{})
}

// event tells the machine what has happened and does what it asks for, as step.event.
func (s *onceStep) event(ev protocol.Event) {
	if s.tx == nil {
		return
	}
	s.tx = s.tx.Clone()
	s.effects = s.tx.Step(s.effects[:0], ev)
	for _, e := range s.effects {
		s.do(e)
	}
}

func (s *onceStep) do(e protocol.Effect) {
	switch e := e.(type) {
	case protocol.AppendOnePhase:
		s.append(onePhaseRecord)
	case protocol.AppendAbort:
		s.append(abortedRecord)
	case protocol.AppendEnd:
		s.append(endedRecord + onceRecord(s.tx.Outcome()))
	case protocol.SendOnePhase:
		s.sendOnePhase()
	case protocol.SendSettle:
		s.sendSettle()
	case protocol.Interrupt: // nobody waits for the call any more; it may still be out
	case protocol.Retry:
		s.asked = true
	case protocol.Tell:
		s.tellClient(e.Outcome)
	case protocol.Hazard:
		run := &s.run[s.last()]
		run.alarm = true
		if run.stated == protocol.OutcomeUnknown {
			s.fail("I6", "an alarm is raised over an honest participant, and no operator has said otherwise")
		}
	case protocol.Forget:
		s.forget()
	case protocol.AppendPrepare, protocol.ForceCommit, protocol.SendPrepare, protocol.SendCommit, protocol.SendRollback, protocol.Refuse:
		s.fail("calls", "the machine asks for what belongs to two phases")
	}
}

func (s *onceStep) sendOnePhase() {
	if s.call != noCall || s.settling {
		s.fail("calls", "a call leaves while another one is out")
	}
	s.call, s.hung, s.asked = queued, false, false
	if !s.r.Withdrawals {
		s.leaves()
	}
}

func (s *onceStep) leaves() {
	s.call = out
	s.run[s.last()].sent |= onePhaseSent
}

func (s *onceStep) sendSettle() {
	if s.settling || s.call != noCall && !s.hung {
		s.fail("calls", "a settle call leaves while another call is out that does not hang")
	}
	s.settling, s.asked = true, false
	s.run[s.last()].sent |= settleSent
}

func (s *onceStep) driverMove(what onceWhat) {
	switch what {
	case onceHangs:
		s.hung = true
		s.event(protocol.Hung{})
	case onceRetry:
		s.asked = false
		s.event(protocol.RetryDue{})
	case onceTimeout:
		s.event(protocol.TimedOut{})
	case onceCancel:
		s.event(protocol.Cancelled{Code: protocol.ReasonCancelled})
	case settleFails:
		s.settling = false
		s.event(protocol.NoAnswer{Verb: protocol.Settle})
	case onceWithdrawn:
		s.call, s.hung = noCall, false
		s.event(protocol.Withdrawn{})
	case hearError:
		s.call, s.hung = noCall, false
		s.event(protocol.Voted{Vote: protocol.VoteAbort, Unsure: true})
	default:
		s.call, s.hung = noCall, false
		s.event(protocol.NoAnswer{Verb: protocol.CommitOnePhase})
	}
}

func (s *onceStep) vote(v protocol.Vote) {
	s.call, s.hung = noCall, false
	h := heardCommit
	if v == protocol.VoteAbort {
		h = heardAbort
	}
	s.learn(h, protocol.Voted{Vote: v})
}

func (s *onceStep) hearSettled(h heard, ended bool) {
	s.settling = false
	if ended {
		s.learn(h, protocol.FinishedOtherwise{Outcome: h.outcome()})
		return
	}
	s.learn(h, protocol.Settled{Outcome: h.outcome()})
}

// learn gives the participant's word to the machine. If it contradicts what was told
// an alarm must follow.
func (s *onceStep) learn(h heard, ev protocol.Event) {
	run := &s.run[s.last()]
	run.heard |= h
	decided := s.tx.Decision()
	s.event(ev)
	if o := h.outcome(); o != protocol.OutcomeUnknown && decided != protocol.OutcomeUnknown && o != decided && !run.alarm {
		s.fail("I17", "the participant contradicts the operator, and no alarm is raised")
	}
}

// state lets an operator begin to say how the branch ended.
func (s *onceStep) state(o protocol.Outcome) {
	s.statements++
	run := &s.run[s.last()]
	run.stated, run.before = o, run.told
	s.stating = o
	if !s.tx.Logged() {
		s.tx = s.tx.Clone()
		s.tx.Log()
		s.append(onePhaseRecord)
	}
	s.event(protocol.Stating{})
	s.append(statement(o))
}

func statement(o protocol.Outcome) onceRecord {
	if o == protocol.Committed {
		return statedCommitted
	}
	return statedRolledBack
}
