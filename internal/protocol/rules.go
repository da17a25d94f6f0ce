package protocol

import "github.com/dtc-project/dtc/internal/canary"

// Opening is one entry of a log's history: an incarnation, and the sequences it
// reserved.
type Opening struct {
	Incarnation Incarnation
	Through     uint64
}

// View is what a coordinator knows about one XID at one moment. For the sweep
// that moment must come after the listing was taken: a branch that was
// registered before its prepare was sent, and is listed, was registered before
// the listing.
type View struct {
	Log      LogID
	Replayed bool      // the log was read to its end
	History  []Opening // every incarnation of the log, the current one last
	Live     bool      // the XID is in the live table
	Held     bool      // a recovery hold covers its incarnation
	Decision Outcome   // how it ended, if the log still says so
}

// Verdict is what the sweep may do with a branch that a participant lists.
type Verdict uint8

const (
	// RollBack: no log holds it and none ever will; presumed abort applies.
	RollBack Verdict = iota
	// Foreign: another log's branch. Not ours to touch.
	Foreign
	// NotYet: the log has not been read to its end.
	NotYet
	// Running: a live transaction owns it, and will finish it.
	Running
	// UnknownIncarnation: it names this log, but an opening or a sequence that
	// the log does not know: there is more truth than this log holds.
	UnknownIncarnation
	// Decided: the log does not say that it was rolled back, yet the participant still
	// lists it after it acknowledged. Somebody must look.
	Decided
	// Held: the log may not be the whole truth about its incarnation, and says
	// nothing about it.
	Held
)

var verdictNames = [...]string{
	"roll_back", "foreign", "not_yet", "running", "unknown_incarnation", "decided", "held",
}

// String returns the verdict's name in lower case.
func (v Verdict) String() string { return name(verdictNames[:], int(v), "verdict") }

// Sweep says what may be done with a listed branch. Everything but RollBack
// means: leave it alone, and show it.
func Sweep(x XID, v View) Verdict {
	switch {
	case x.Log != v.Log:
		return Foreign
	case !v.Replayed && !canary.On(canary.PresumeBeforeReplay):
		return NotYet
	case v.Live && !canary.On(canary.SweepTheLive):
		return Running
	case v.Replayed && !known(x, v.History):
		return UnknownIncarnation
	case v.Decision != OutcomeUnknown && v.Decision != RolledBack:
		return Decided
	case v.Held && v.Decision == OutcomeUnknown && !canary.On(canary.PresumeUnderHold):
		return Held
	}
	return RollBack
}

func known(x XID, history []Opening) bool {
	for i := range history {
		if history[i].Incarnation == x.Incarnation {
			return x.Seq > 0 && x.Seq <= history[i].Through
		}
	}
	return false
}

// LowWaterView is what bounds the low water of one participant.
type LowWaterView struct {
	Replayed bool
	// Held says that a recovery hold is in force: what began elsewhere under this
	// log's id is not known.
	Held bool
	// Next is the lowest XID that no transaction has yet.
	Next XID
	// Oldest is the lowest XID of a live transaction with an unfinished branch
	// at the participant, or zero if there is none.
	Oldest XID
	// Plain says that the participant cannot list. All its branches are in the
	// log, because their prepare records were forced.
	Plain bool
	// Swept says that every branch of earlier incarnations that one complete
	// listing, taken in this incarnation, showed has been finished.
	Swept bool
}

// LowWater returns the lowest XID that may still be unfinished at a participant,
// or zero if that cannot be said: a crash may have lost prepare records, so a
// listing participant may hold branches that no log knows until the sweep has
// seen them.
func LowWater(v LowWaterView) XID {
	if !v.Replayed || v.Held {
		return XID{}
	}
	if !v.Plain && !v.Swept && !canary.On(canary.LowWaterPastUnswept) {
		return XID{}
	}
	if !v.Oldest.IsZero() && v.Oldest.Compare(v.Next) < 0 && !canary.On(canary.LowWaterPastUnfinished) {
		return v.Oldest
	}
	return v.Next
}
