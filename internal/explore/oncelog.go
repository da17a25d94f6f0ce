package explore

import "github.com/dtc-project/dtc/internal/protocol"

func (s *onceStep) append(r onceRecord) {
	if s.poisoned {
		return
	}
	if s.n == maxOnce {
		s.fail("model", "the log is too long")
		return
	}
	s.log[s.n] = r
	s.n++
}

// logMove tells what became of an operator's statement, or lets the log fail.
func (s *onceStep) logMove(what onceWhat) {
	o := s.stating
	s.stating = protocol.OutcomeUnknown
	switch what {
	case statementSync:
		s.durable = s.n
		s.stated = true
		s.event(protocol.Resolved{Outcome: o})
		s.stated = false
	case statementLost:
		s.faults++
		s.drop(statement(o))
		s.event(protocol.Refused{})
	default:
		s.faults++
		s.poisoned = true
		if o != protocol.OutcomeUnknown {
			s.event(protocol.LogFailed{})
		}
	}
}

// drop takes the last record r out of the log, which refuses it.
func (s *onceStep) drop(r onceRecord) {
	for at := int(s.n) - 1; at >= int(s.durable); at-- {
		if s.log[at] == r {
			copy(s.log[at:], s.log[at+1:])
			s.n--
			s.log[s.n] = 0
			return
		}
	}
	s.fail("model", "a record was refused that is not in the log")
}

// crash ends the process and starts another, on the first n records of the log, in a
// new incarnation.
func (s *onceStep) crash(n uint8) {
	for at := n; at < s.n; at++ {
		s.log[at] = 0
	}
	s.n, s.durable = n, n
	s.tx, s.call, s.hung, s.settling, s.asked, s.answers = nil, noCall, false, false, false, 0
	s.stating, s.poisoned, s.past = protocol.OutcomeUnknown, false, protocol.OutcomeUnknown
	s.opening++
	f := protocol.Found{OnePhase: true, Plain: []bool{false}, Resolved: []protocol.Outcome{protocol.OutcomeUnknown}}
	for _, r := range s.log[:n] {
		switch {
		case r == abortedRecord:
			f.Decision, f.Why = protocol.RolledBack, protocol.ReasonVoteAbort
		case r == statedCommitted && f.Resolved[0] == protocol.OutcomeUnknown:
			f.Resolved[0] = protocol.Committed
		case r == statedRolledBack && f.Resolved[0] == protocol.OutcomeUnknown:
			f.Resolved[0] = protocol.RolledBack
		case r >= endedRecord:
			s.past = protocol.Outcome(r - endedRecord)
		}
	}
	s.recover(f)
}

// recover goes on with what the log holds unfinished.
func (s *onceStep) recover(f protocol.Found) {
	stated := f.Resolved[0] != protocol.OutcomeUnknown
	if s.runs > 0 && !stated && !s.says(endedRecord) {
		s.run[s.last()].stated = protocol.OutcomeUnknown
	}
	if !s.says(onePhaseRecord) || s.says(endedRecord) {
		return
	}
	tx := protocol.Recover(f)
	s.tx = &tx
	s.stated = stated
	s.event(protocol.Recovered{})
	s.stated = false
}
