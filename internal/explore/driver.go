package explore

import "github.com/dtc-project/dtc/internal/protocol"

// begin registers the transaction and starts it.
func (s *step) begin() {
	s.begun = true
	tx := protocol.New(0)
	s.tx = &tx
	for i := range s.r.Kinds {
		s.tx.Enlist(!s.r.remote(i), false)
	}
	s.event(protocol.Begun{})
}

// event tells the machine what has happened and does what it asks for. It is one
// step: a crash in between leaves no other world than one before or after, where
// the messages never arrive and the tail is lost.
func (s *step) event(ev protocol.Event) {
	if s.tx == nil {
		return
	}
	s.tx = s.tx.Clone()
	s.effects = s.tx.Step(s.effects[:0], ev)
	for _, e := range s.effects {
		s.do(e)
	}
	if s.tx == nil || s.tx.State() > protocol.Preparing {
		s.cancelled = false
		for i := range s.r.Kinds {
			s.branch[i].attempts = 0 // phase two has no bound
		}
	}
}

// do carries out one effect.
func (s *step) do(e protocol.Effect) {
	switch e := e.(type) {
	case protocol.AppendPrepare:
		s.append(prepareRecord, e.Force)
	case protocol.ForceCommit:
		s.checkDecision()
		s.append(commitRecord, true)
	case protocol.AppendAbort:
		s.append(abortRecord, false)
	case protocol.AppendEnd:
		s.append(endRecord, false)
	case protocol.SendPrepare:
		s.sendPrepare(e.Branch)
	case protocol.SendCommit:
		s.checkTelling("a commit message")
		s.send(e.Branch, protocol.Commit)
	case protocol.SendRollback:
		s.send(e.Branch, protocol.Rollback)
	case protocol.Retry:
		s.branch[e.Branch].asked = true
	case protocol.Tell:
		s.tellClient(e.Outcome)
	case protocol.Refuse:
		s.tell("refuse the transaction")
	case protocol.Hazard:
		s.fail("I6", "an alarm is raised over an honest participant")
	case protocol.Forget:
		s.forget()
	case protocol.AppendOnePhase, protocol.SendOnePhase, protocol.SendSettle, protocol.Interrupt:
		s.fail("calls", "the machine asks for what belongs to one phase")
	}
}

func (s *step) sendPrepare(i int) {
	b := &s.branch[i]
	if b.prepare != noCall || b.finish != noCall {
		s.fail("calls", "a prepare is sent while a call is out")
	}
	b.attempts++
	b.prepare, b.hung, b.beside, b.asked = queued, false, false, false
	if !s.r.Withdrawals {
		s.leaves(i)
	} else {
		s.tellOf(i, "a prepare to %s waits to leave")
	}
}

func (s *step) leaves(i int) {
	s.tellOf(i, "send prepare to %s")
	s.branch[i].prepare = out
	if s.r.remote(i) {
		s.branch[i].sent |= prepareSent
	}
}

// send starts a call of phase two.
func (s *step) send(i int, verb protocol.Verb) {
	b := &s.branch[i]
	if b.finish != noCall || b.prepare != noCall && !(verb == protocol.Rollback && b.hung) {
		s.fail("calls", "a "+verb.String()+" is sent while a call is out")
	}
	s.tellOf(i, sending[verb])
	b.finish, b.verb, b.asked = out, verb, false
	b.beside = b.prepare != noCall
	if !s.r.remote(i) {
		return
	}
	if verb == protocol.Commit {
		b.sent |= commitSent
	} else {
		b.sent |= rollbackSent
	}
	s.sendLowWater(i)
}

func (s *step) driverMove(what what, i int) {
	b := &s.branch[i]
	switch what {
	case leave:
		s.leaves(i)
	case withdraw:
		b.prepare = noCall
		b.attempts = max(b.attempts, 1) - 1 // nobody saw it
		s.event(protocol.Withdrawn{Branch: i})
	case hung:
		b.hung = true
		s.event(protocol.Hung{Branch: i})
	case retryDue:
		b.asked = false
		s.event(protocol.RetryDue{Branch: i})
	case timedOut:
		s.event(protocol.TimedOut{})
	default:
		s.cancelled = s.tx.State() < protocol.Deciding
		s.event(protocol.Cancelled{Code: protocol.ReasonCancelled})
	}
}

// answered gives an answer from the network to the machine, or none.
func (s *step) answered(what what, i int, vote protocol.Vote) {
	b := &s.branch[i]
	switch what {
	case voted:
		b.prepare, b.hung, b.beside = noCall, false, false
		s.event(protocol.Voted{Branch: i, Vote: vote})
	case noAnswerPrepare:
		b.prepare, b.hung, b.beside = noCall, false, false
		s.event(protocol.NoAnswer{Branch: i, Verb: protocol.Prepare})
	case noAnswerFinish:
		verb := b.verb
		b.finish, b.verb = noCall, 0
		s.event(protocol.NoAnswer{Branch: i, Verb: verb})
	case acked:
		b.finish, b.verb = noCall, 0
		s.event(protocol.Acked{Branch: i})
	case notKnown:
		b.finish, b.verb = noCall, 0
		s.event(protocol.Unknown{Branch: i})
	default:
		outcome := protocol.Committed
		if b.answers&endedRolledBack != 0 {
			outcome = protocol.RolledBack
		}
		b.finish, b.verb = noCall, 0
		s.event(protocol.FinishedOtherwise{Branch: i, Outcome: outcome})
	}
}

func (s *step) tellClient(o protocol.Outcome) {
	s.tell(telling[o])
	if o == protocol.OutcomeUnknown {
		return
	}
	if o == protocol.Committed {
		s.checkTelling("the outcome")
	}
	if s.told != protocol.OutcomeUnknown && s.told != o && !s.allReadOnly() {
		s.fail("I4", "the client was told "+s.told.String()+" and is now told "+o.String())
	}
	s.told = o
}

// forget removes the transaction from the live table.
func (s *step) forget() {
	s.tell("forget the transaction")
	s.checkForget()
	s.tx = nil
	for i := range s.r.Kinds {
		b := &s.branch[i]
		b.answers, b.attempts, b.asked, b.hung, b.beside = 0, 0, false, false, false
		if s.r.remote(i) {
			b.prepare, b.finish, b.verb = noCall, noCall, 0
		}
	}
}
