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

// list takes a listing. One that shows nothing is looked up at once: that lets low
// water rise, and nothing else.
func (s *pairStep) list(p int) {
	at := &s.at[p]
	at.listed = s.prepared(s.r, p)
	if at.listing = at.listed != 0; !at.listing {
		at.swept = true
	}
}

// listNow takes a listing where there is none and one may be taken. It may be looked
// up later, or given up for another one.
func (s *pairStep) listNow(p int) {
	if at := &s.at[p]; !at.listing && (s.prepared(s.r, p) != 0 || !at.swept) {
		s.list(p)
	}
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
		switch s.verdict(i, p) {
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

// verdict says what the sweep may do with a listed branch, as things are now.
func (w *pair) verdict(i, p int) protocol.Verdict {
	v := protocol.View{Replayed: true, History: w.history(), Live: w.liveAt(i, p), Held: w.covered(i)}
	switch log := w.says(i); {
	case log.has(commitRecord):
		v.Decision = protocol.Committed
	case log.has(abortRecord):
		v.Decision = protocol.RolledBack
	case w.run[i].logged || w.run[i].opening == w.openings-1:
		v.Decision = protocol.Committed // no lost record explains it
	}
	return protocol.Sweep(w.xid(i), v)
}

// heed begins a hold, or makes it longer, because a participant names an opening that
// the log never had. It reports whether that is news.
func (s *pairStep) heed(i int) bool {
	if s.r.NoHold || !s.news(i) {
		return false
	}
	s.hold = max(s.hold, s.number[s.run[i].opening])
	for p := range s.at {
		s.at[p].swept = false
	}
	return true
}

// news reports whether no hold covers a transaction, or did and was released.
func (w *pair) news(i int) bool {
	number := w.number[w.run[i].opening]
	return number > w.hold && (w.hold > 0 || number > w.released)
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
		if v.Oldest.IsZero() || (x.Compare(v.Oldest) < 0) != canary.On(canary.LowWaterOfNewest) {
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
// a listing: none shows any more what is finished now.
func (w *pair) mayRelease(r *PairRules) bool {
	if w.hold == 0 {
		return false
	}
	for p := range r.places() {
		if w.at[p].listed&^w.prepared(r, p) != 0 {
			return false
		}
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
