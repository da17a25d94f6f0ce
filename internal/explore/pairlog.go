package explore

import (
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
)

func (s *pairStep) append(r record, i int) {
	if s.n == maxEntries {
		s.fail("model", "the log is too long")
		return
	}
	s.log[s.n] = newEntry(r, i)
	s.n++
}

// sync makes everything durable, and tells those who wait for it.
func (s *pairStep) sync() {
	s.harden()
	for i := range s.run {
		if s.run[i].forced {
			s.run[i].forced = false
			s.event(i, protocol.Synced{})
		}
	}
}

// harden notes what is durable now.
func (s *pairStep) harden() {
	s.durable = s.n
	for i := range s.run {
		if s.says(i).has(commitRecord) {
			s.run[i].decided = true
		}
	}
}

// expire drops an ended transaction from the log, outcome and all.
func (s *pairStep) expire(i int) {
	kept, durable := s.log, s.durable
	s.log, s.n, s.durable = [maxEntries]entry{}, 0, 0
	for at, e := range kept {
		if e == 0 || e.record() != openingRecord && e.about() == i {
			continue
		}
		s.log[s.n] = e
		if s.n++; at < int(durable) {
			s.durable = s.n
		}
	}
	s.run[i].lost, s.run[i].logged = true, true
}

// crash ends the process and starts another, on the first n records of the log. Older
// says that it is a copy from before the last sync: its owner knows, or the log itself
// does, so a hold covers every opening that it knows.
func (s *pairStep) crash(n uint8, older bool) {
	s.crashes++
	for at := n; at < s.n; at++ {
		s.log[at] = 0
	}
	s.n = n
	s.harden()
	last := uint8(0)
	for _, o := range s.history() {
		last = uint8(o.Incarnation.Number)
	}
	number := last + 1
	for i := range s.run {
		run, log := &s.run[i], s.says(i)
		run.logged = run.logged && !older || log.has(prepareRecord)
		run.lost = run.lost || older && run.begun && !log.has(endRecord)
	}
	if older && !s.r.NoHold {
		s.hold = max(s.hold, last)
	}
	if through := max(s.hold, s.released); older || through >= last {
		number = max(through, last) + numberGap
	}
	for i := range s.run {
		s.run[i].tx, s.run[i].forced, s.run[i].parked, s.run[i].recovered = nil, false, false, false
	}
	for p := range s.at {
		s.at[p].swept, s.at[p].listing, s.at[p].listed = false, false, 0
		for i := range s.run {
			s.run[i].part[p].adopted = false
		}
	}
	s.open(number)
	for i := range s.run {
		s.recover(i)
	}
}

// recover brings back what the log holds unfinished, and goes on with it unless a hold
// covers what it did not decide.
func (s *pairStep) recover(i int) {
	run, log := &s.run[i], s.says(i)
	if log.has(prepareRecord) && !log.has(endRecord) {
		f := protocol.Found{}
		for range s.r.At[i] {
			f.Plain, f.Votes = append(f.Plain, false), append(f.Votes, protocol.VoteCommit)
		}
		switch {
		case log.has(commitRecord):
			f.Decision = protocol.Committed
		case log.has(abortRecord):
			f.Decision, f.Why = protocol.RolledBack, protocol.ReasonVoteAbort
		}
		tx := protocol.Recover(f)
		run.tx, run.recovered = &tx, true
		run.parked = f.Decision == protocol.OutcomeUnknown && s.covered(i) && !canary.On(canary.RecoverUnderHold)
		if !run.parked {
			s.event(i, protocol.Recovered{})
		}
	}
	for p := range s.r.At[i] {
		run.part[p].orphan = *s.row(i, int(p)) == prepared && run.tx == nil
	}
}
