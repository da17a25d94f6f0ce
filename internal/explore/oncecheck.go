package explore

import "github.com/dtc-project/dtc/internal/protocol"

// tellClient looks at what is told, and notes it.
func (s *onceStep) tellClient(o protocol.Outcome) {
	run := &s.run[s.last()]
	if o == protocol.OutcomeUnknown {
		return
	}
	// An operator may contradict what was told before he was asked, by a process that
	// is gone; nobody else may contradict anything.
	if run.told != protocol.OutcomeUnknown && run.told != o && !(s.stated && run.before == run.told) {
		s.fail("I4", "the client was told "+run.told.String()+" and is now told "+o.String())
	}
	run.told = o
	if s.stated {
		return
	}
	run.word = o
	switch {
	case o == protocol.Committed && run.heard&(heardCommit|heardCommitted) == 0:
		s.fail("I2", "the client is told committed, and the participant has not said so")
	case o == protocol.RolledBack && run.heard&(heardAbort|heardRolledBack) == 0:
		s.fail("I5", "the client is told rolled_back, and the participant has not said so")
	}
}

// forget removes the transaction from the live table.
func (s *onceStep) forget() {
	run := &s.run[s.last()]
	switch {
	case s.call != noCall || s.settling:
		s.fail("I10", "the transaction is forgotten while a call is out")
	case s.tx.Decision() == protocol.OutcomeUnknown && run.heard&heardDropped == 0:
		s.fail("I10", "the transaction is forgotten, and nobody knows how it ended")
	case run.told == protocol.OutcomeUnknown:
		s.fail("I10", "the transaction is forgotten, and nobody was ever told how it ended")
	}
	s.past = s.tx.Outcome()
	s.tx, s.answers, s.asked, s.hung = nil, 0, false, false
}

// check looks at the world after a move.
func (s *onceStep) check() {
	effect := int(s.at.effect) - 1
	for i := range s.run[:s.runs] {
		switch run := &s.run[i]; {
		case run.word == protocol.Committed && effect < 0:
			s.fail("I3", "the client was told committed, and nothing has been")
		case run.word == protocol.RolledBack && effect >= 0 && effect <= i:
			s.fail("I8", "the client was told rolled_back, and the id took effect without having run again")
		}
	}
	if s.runs == 0 || s.run[s.last()].stated != protocol.OutcomeUnknown {
		return
	}
	switch {
	case s.past == protocol.Committed && effect < 0 || s.past == protocol.RolledBack && effect >= 0:
		s.fail("I4", "who asks by the id is told "+s.past.String()+", which is not true")
	case s.at.evidence != 0 && effect < 0:
		s.fail("I3", "who asks for the evidence is told committed, which is not true")
	}
}

// checkRest looks at a world that was left in peace until nothing more happened.
func (s *onceStep) checkRest() {
	switch {
	case s.tx != nil || s.call != noCall || s.settling:
		s.fail("rest", "the transaction is still live")
	case s.says(onePhaseRecord) && !s.says(endedRecord):
		s.fail("rest", "the log holds the transaction for ever")
	case s.says(onePhaseRecord) && s.run[s.last()].told == protocol.OutcomeUnknown:
		s.fail("rest", "the client is never told")
	}
}
