package logcheck

import "fmt"

// The sections of a checkpoint, in their order.
const (
	inIncarnations = iota
	inHold
	inRelease
	inLogged
	inHorizon
	inOutcomes
	inUnfinished
)

var sectionWords = [...]string{
	"the incarnations", "the hold", "its release", "what was logged", "the horizon", "the outcomes", "what is unfinished",
}

var sectionOf = map[Kind]int{
	Incarnation: inIncarnations, Hold: inHold, Release: inRelease, Logged: inLogged, Horizon: inHorizon, Outcome: inOutcomes,
	Prepare: inUnfinished, OnePhase: inUnfinished, Commit: inUnfinished, Abort: inUnfinished, Resolution: inUnfinished,
}

// fold takes in a record of a checkpoint, where the order of records is that of
// their sections, and the history that they stand for is over.
func (h *history) fold(r *Record) (why string) {
	section, ok := sectionOf[r.Kind]
	switch {
	case !ok:
		return "it stands in segments only"
	case section < h.section:
		return "it comes after " + sectionWords[h.section]
	case section == h.section && (section == inHold || section == inRelease || section == inHorizon):
		return "there is one already"
	}
	h.section = section
	x := ref{r.Number, r.Seq}
	switch r.Kind {
	case Logged:
		for _, run := range r.Runs {
			a, b := ref{r.Number, run.First}, ref{r.Number, run.Last}
			if !h.isReserved(a) || !h.isReserved(b) {
				return fmt.Sprintf("the sequences %d to %d were not reserved", run.First, run.Last)
			}
			if !h.prepared.add(a, b) {
				return fmt.Sprintf("the sequences %d to %d are named twice", run.First, run.Last)
			}
		}
	case Horizon:
	case Outcome:
		switch {
		case !h.prepared.has(x):
			return "the transaction is not among those that were logged"
		case !h.outcomes.add(x, x):
			return "the transaction has an outcome already"
		case r.Outcome == unknown:
			return "what has ended has an outcome"
		case r.Outcome == committed && r.Code != noReason || r.Outcome == rolledBack && r.Code == noReason:
			return "a rollback has a reason, and nothing else has"
		}
	case Prepare, OnePhase:
		// Unlike in a segment it may be of any incarnation.
		if x.compare(h.last) <= 0 {
			return "the unfinished transactions do not ascend"
		}
		h.last = x
		return h.prepare(x, r)
	case Commit, Abort, Resolution:
		if x != h.last {
			return "it does not follow the transaction's prepare record"
		}
		return h.add(r)
	case Incarnation:
		// The holds that made it leave numbers out need not stand here any more.
		if r.Number <= h.newest {
			return fmt.Sprintf("incarnation %d follows incarnation %d", r.Number, h.newest)
		}
		h.newest, h.reserved[r.Number] = r.Number, r.Through
	case Hold:
		return h.add(r)
	case Release:
		if h.held == 0 {
			return "there is no hold"
		}
	case Block, End:
	}
	return ""
}
