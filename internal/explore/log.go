package explore

import "github.com/dtc-project/dtc/internal/protocol"

// append hands a record to the log.
func (s *step) append(r record, force bool) {
	if force {
		s.forced = r
	}
	if s.poisoned {
		s.tell("the log takes no more")
		return
	}
	s.tell(appending[r])
	if force {
		s.tell("wait for its sync")
	}
	s.tail[s.unsynced] = r
	s.unsynced++
	if r == commitRecord {
		for i := range s.r.Kinds {
			s.branch[i].vote, _ = s.tx.Vote(i)
		}
	}
}

func (s *step) logMove(what what) {
	switch what {
	case logSynced:
		s.forced = noRecord
		s.survive(s.unsynced)
		s.event(protocol.Synced{})
	case logRefuses:
		if !s.poisoned { // then it was not taken in the first place
			s.logFaults++
			s.drop(s.forced)
		}
		s.forced = noRecord
		s.event(protocol.Refused{})
	case logFails:
		s.logFaults++
		s.poisoned = true
		if s.forced != noRecord {
			s.forced = noRecord
			s.event(protocol.LogFailed{})
		}
	default: // truncate
		s.synced, s.unsynced, s.tail = 0, 0, [4]record{}
		s.dropVotes()
	}
}

// survive makes the first n records of the tail durable and the rest vanish.
func (s *step) survive(n uint8) {
	for _, r := range s.tail[:n] {
		s.synced |= 1 << r
	}
	s.tail, s.unsynced = [4]record{}, 0
	s.decided = s.decided || s.synced.has(commitRecord)
	s.dropVotes()
}

// dropVotes forgets the votes of a decision that the log does not hold. They live
// exactly as long as that record: a transaction whose end is lost is recovered
// with them after it was forgotten.
func (s *step) dropVotes() {
	if s.log().has(commitRecord) {
		return
	}
	for i := range s.r.Kinds {
		s.branch[i].vote = 0
	}
}

// drop takes a refused record out of the tail, where it is the last.
func (s *step) drop(r record) {
	if s.unsynced == 0 || s.tail[s.unsynced-1] != r {
		s.fail("model", "a record was refused that is not the last one")
		return
	}
	s.unsynced--
	s.tail[s.unsynced] = noRecord
	s.dropVotes()
}

// crash ends the process; n records of the tail survive.
func (s *step) crash(n uint8) {
	s.survive(n)
	s.tx, s.forced, s.cancelled = nil, noRecord, false
	s.replaying, s.later, s.poisoned = true, true, false
	for i := range s.r.Kinds {
		b := &s.branch[i]
		b.answers, b.prepare, b.finish, b.verb = 0, noCall, noCall, 0
		b.attempts, b.hung, b.beside, b.asked = 0, false, false, false
		b.sweep, b.swept = sweepIdle, false
		b.orphan = s.r.remote(i) && b.row == prepared
	}
}

// replayed reads the log to its end, forces a new incarnation, and finishes what
// was begun.
func (s *step) replayed() {
	s.replaying = false
	if !s.synced.has(prepareRecord) || s.synced.has(endRecord) {
		return
	}
	f := protocol.Found{}
	for i := range s.r.Kinds {
		f.Plain = append(f.Plain, !s.r.remote(i))
		f.Votes = append(f.Votes, s.branch[i].vote)
	}
	switch {
	case s.synced.has(commitRecord):
		f.Decision = protocol.Committed
	case s.synced.has(abortRecord):
		f.Decision, f.Why = protocol.RolledBack, protocol.ReasonVoteAbort
	}
	tx := protocol.Recover(f)
	s.tx = &tx
	s.event(protocol.Recovered{})
}
