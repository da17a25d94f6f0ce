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
