package explore

import "github.com/dtc-project/dtc/internal/protocol"

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
