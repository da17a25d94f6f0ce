package explore

import (
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
)

// prepared is the set of transactions of which a participant holds a prepared branch.
func (w *pair) prepared(r *PairRules, p int) (held uint8) {
	for i := range w.run {
		if p < int(r.At[i]) && *w.row(i, p) == prepared {
			held |= 1 << i
		}
	}
	return held
}

// lookUp asks what may be done with the branches that were listed, as things are now.
// Evidence that the log is not the whole truth comes first.
func (s *pairStep) lookUp(p int) {
	at := &s.at[p]
	listed := at.listed
	at.listing, at.listed = false, 0
	unclear := false
	var orphans []int
	for i := range s.run {
		if listed&(1<<i) == 0 {
			continue
		}
		verdict := protocol.Sweep(s.xid(i), s.view(i, p))
		switch verdict {
		case protocol.RollBack:
			orphans = append(orphans, i)
		case protocol.UnknownIncarnation:
			if s.heed(i) {
				return
			}
			unclear = true
		case protocol.Decided, protocol.Held:
			unclear = unclear || s.run[i].opening != s.openings-1
		case protocol.Running, protocol.Foreign, protocol.NotYet:
		}
	}
	for _, i := range orphans {
		s.checkSweep(i, p)
		s.run[i].part[p].adopted = true
		s.run[i].part[p].sent |= rollbackSent
	}
	at.swept = at.swept || !unclear || canary.On(canary.SweptDespiteHeld)
}

// view is what the coordinator knows of a transaction.
func (s *pairStep) view(i, p int) protocol.View {
	v := protocol.View{Replayed: true, History: s.history(), Live: s.liveAt(i, p), Held: s.covered(i)}
	switch log := s.says(i); {
	case log.has(commitRecord):
		v.Decision = protocol.Committed
	case log.has(abortRecord):
		v.Decision = protocol.RolledBack
	case s.run[i].logged || s.run[i].opening == s.openings-1:
		v.Decision = protocol.Committed // no lost record explains it
	}
	return v
}

// heed begins a hold, or makes it longer, because a participant names an opening that
// the log never had. It reports whether that is news.
func (s *pairStep) heed(i int) bool {
	number := s.number[s.run[i].opening]
	if s.r.NoHold || number <= s.hold || s.hold == 0 && number <= s.released {
		return false
	}
	s.hold = max(s.hold, number)
	for p := range s.at {
		s.at[p].swept = false
	}
	return true
}

// lowWater returns the transactions that are below a participant's low water as far
// as the coordinator knows.
func (s *pairStep) lowWater(p int) (below uint8) {
	v := protocol.LowWaterView{
		Replayed: true, Held: s.hold > 0, Swept: s.at[p].swept,
		Next: protocol.XID{Incarnation: s.incarnation(s.openings - 1), Seq: uint64(s.next)},
	}
	for i := range s.run {
		run := &s.run[i]
		if p >= int(s.r.At[i]) || (run.tx == nil || run.tx.Done(p)) && !run.part[p].adopted {
			continue
		}
		x := s.xid(i)
		newest := canary.On(canary.LowWaterOfNewest) && x.Compare(v.Oldest) > 0
		if v.Oldest.IsZero() || newest || !canary.On(canary.LowWaterOfNewest) && x.Compare(v.Oldest) < 0 {
			v.Oldest = x
		}
	}
	low := protocol.LowWater(v)
	for i := range s.run {
		if p < int(s.r.At[i]) && s.run[i].begun && low.Compare(s.xid(i)) > 0 {
			below |= 1 << i
		}
	}
	return below
}

// untold reports whether the decision to commit was taken, and this log does not say
// so: what an operator has to find out.
func (w *pair) untold(i int) bool { return w.run[i].decided && !w.says(i).has(commitRecord) }

// mayFinish reports whether an operator finishes a branch by hand, under a hold or of
// an opening that this log never had.
func (w *pair) mayFinish(i, p int) bool {
	run := &w.run[i]
	if *w.row(i, p) != prepared || w.liveAt(i, p) && !run.parked {
		return false
	}
	return w.covered(i) && w.untold(i) || !run.decided && w.unheard(i)
}

// unheard reports whether the log does not know the opening in which a transaction
// began.
func (w *pair) unheard(i int) bool {
	for _, e := range w.log[:w.n] {
		if e == newEntry(openingRecord, int(w.run[i].opening)) {
			return false
		}
	}
	return true
}

func (s *pairStep) finishByHand(i, p int) {
	b := &s.run[i].part[p]
	if s.run[i].decided {
		*s.row(i, p), b.committed = committed, true
	} else {
		*s.row(i, p), b.undone = rolledBack, true
	}
}

// mayRelease reports whether an operator may say that what the log does not say was
// not decided, or is finished. It takes him longer than it takes a sweep to look up
// what was listed.
func (w *pair) mayRelease(r *PairRules) bool {
	if w.hold == 0 || w.at[0].listing || w.at[1].listing {
		return false
	}
	for i := range w.run {
		if !w.run[i].begun || !w.covered(i) || !w.untold(i) {
			continue
		}
		if w.run[i].tx != nil {
			return false
		}
		for p := range r.At[i] {
			if !w.run[i].part[p].committed {
				return false
			}
		}
	}
	return true
}

// release ends the hold.
func (s *pairStep) release() {
	s.hold, s.released = 0, s.hold
	for i := range s.run {
		if s.run[i].parked {
			s.run[i].parked = false
			s.event(i, protocol.Recovered{})
		}
	}
}
