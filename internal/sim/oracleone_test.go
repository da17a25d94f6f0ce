package sim

import (
	"testing"

	"github.com/dtc-project/dtc"
)

// An id was rolled back, was forgotten, and has committed the same in a later run. Of the
// earlier one it may be said again that it was rolled back beyond the limit, or, once it was
// settled again, that it committed; and otherwise not.
func TestOracleKnowsWhatRanAgain(t *testing.T) {
	for _, c := range []struct {
		name            string
		told            bool // of the earlier run, before the later one
		limit           int
		forgets         Faults
		other, none     bool   // the later run is another request; the earlier one has no fingerprint
		reversed        bool   // the later run is the one that was rolled back
		wrote           bool   // the earlier run was prepared
		idle            bool   // the later run did nothing
		rolled, commits string // what is wrong with either answer
	}{
		{name: "beyond the limit", told: true, limit: 1, forgets: Forgets},
		{name: "for the first time", limit: 1, forgets: Forgets, rolled: "I4"},
		{name: "within the limit", told: true, limit: 9, forgets: Forgets, rolled: "I4"},
		{name: "nothing is forgotten", told: true, limit: 1, rolled: "I4", commits: "I5"},
		{name: "another request", told: true, limit: 1, forgets: Forgets, other: true, commits: "I5"},
		{name: "grown by code", told: true, limit: 1, forgets: Forgets, other: true, none: true},
		{name: "grown by code, within the limit", told: true, limit: 9, forgets: Forgets, other: true, none: true, rolled: "I4"},
		{name: "it was prepared", told: true, limit: 1, forgets: Forgets, wrote: true, commits: "I5"},
		{name: "nothing was done", told: true, limit: 1, forgets: Forgets, idle: true, commits: "I5"},
		{name: "the run before", told: true, limit: 1, forgets: Forgets, reversed: true, rolled: "I4", commits: "I5"},
	} {
		setUp := func() (*world, *tx) {
			w := newWorld(1, settings{faults: OnePhases | c.forgets, limit: c.limit}, false)
			p := newOneParty(w, "p0")
			run := func(seq uint64, request byte) *tx {
				known := w.know.tx(dtc.XID{Log: dtc.LogID{1}, Incarnation: dtc.Incarnation{Number: 1, Nonce: 1}, Seq: seq}, "t")
				known.phase = phase{once: true, request: [16]byte{request}, party: p}
				return known
			}
			first, again := run(1, 1), run(2, 1)
			if c.other {
				again.phase.request = [16]byte{2}
			}
			if c.none {
				first.phase.request = [16]byte{}
			}
			if c.reversed {
				first, again = again, first
			}
			if c.told {
				w.know.decided(&process{}, first, dtc.RolledBack)
			}
			first.branch(p).prepared, again.branch(p).committed = c.wrote, !c.idle
			p.once.proof = func(dtc.LogID, dtc.TxID) dtc.XID { return again.xid }
			return w, first
		}
		w, first := setUp()
		w.know.decided(&process{}, first, dtc.RolledBack)
		if w.violated != c.rolled {
			t.Errorf("%s: rolled back: the oracle says %q (%s)", c.name, w.violated, w.why)
		}
		w, first = setUp()
		if w.know.hearsCommit("p0", first); c.told && w.violated != c.commits {
			t.Errorf("%s: commit: the oracle says %q (%s)", c.name, w.violated, w.why)
		}
	}
}
