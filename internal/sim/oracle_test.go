package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// What was under way when a connection was lost takes effect with nobody there to see
// it. The oracle must see it in that moment: it was once still holding a branch for
// prepared that had long been rolled back, and blamed low water for passing it.
func TestOracleSeesWhatArrivesLate(t *testing.T) {
	for _, c := range []struct {
		late     string
		arrives  bool
		violated string
	}{
		{"rollback", true, ""},
		{"rollback", false, "I8"},
		{"prepare", true, "I8"},
		{"prepare", false, ""},
	} {
		w := newWorld(1, settings{}, false)
		p := newGuardParty(w, "p0", -1)
		branch := dtc.Branch{
			Participant: p.id, TxID: "t", Attempt: 1,
			XID: dtc.XID{Log: dtc.LogID{1}, Incarnation: dtc.Incarnation{Number: 1, Nonce: 1}, Seq: 3},
		}
		for _, verb := range []string{"prepare", "rollback"} {
			late := verb == c.late
			p.books.db.Step = func(_ context.Context, what string) error {
				if late && what == "commit" {
					return simdb.ErrLate
				}
				return nil
			}
			rep := p.serve(context.Background(), &call{verb: verb, branch: branch})
			if late != errors.Is(rep.err, simdb.ErrLate) {
				t.Fatalf("%+v: %s is answered %v", c, verb, rep)
			}
			if late {
				break
			}
		}
		p.books.deliver(c.arrives)

		// The next process tells a low water above it, after a listing.
		next := branch
		next.XID = dtc.XID{Log: branch.XID.Log, Incarnation: dtc.Incarnation{Number: 2, Nonce: 1}, Seq: 1}
		next.LowWater = next.XID
		w.leaves(&call{verb: "prepare", from: &process{began: w.now() + time.Second}, to: p, branch: next})
		if w.violated != c.violated {
			t.Errorf("%+v: the oracle says %q (%s)", c, w.violated, w.why)
		}
		p.books.close()
	}
}

// An operator calls a branch rolled back while the call that commits it is under way. Its
// evidence is that of something that happened, and keeps the id from a second effect.
func TestOracleSeesWhatAnOperatorDenied(t *testing.T) {
	const before, after, never = 1, 2, 0
	for _, c := range []struct {
		arrives  int  // the call: before that of a later run of the id, after it, or never
		forgets  bool // the participant does it again, whatever its evidence says
		violated string
	}{
		{before, false, ""},
		{after, false, ""},
		{never, false, "told"}, // there is evidence for it all the same
		{before, true, "I7"},
		{after, true, "I7"},
	} {
		w := newWorld(1, settings{faults: OnePhases}, false)
		p := newMemoryParty(w, "p0", inlineOneParty)
		leave := func(seq uint64) *call {
			x := dtc.XID{Log: dtc.LogID{1}, Incarnation: dtc.Incarnation{Number: 1, Nonce: 1}, Seq: seq}
			b := dtc.Branch{Participant: p.id, TxID: "t", XID: x, Payload: []byte(`{"q":1,"v":"y"}`), Attempt: 1}
			call := &call{verb: verbOnce, branch: b, from: &process{}, to: p}
			w.leaves(call)
			return call
		}
		denied, again := leave(1), leave(2)
		w.know.byXID[denied.branch.XID].resolved = true
		if c.forgets {
			p.state = func(dtc.XID) dtctest.State { return dtctest.Committed }
		}
		if c.arrives == before {
			p.serve(context.Background(), denied)
		}
		p.serve(context.Background(), again)
		if c.arrives == after {
			p.serve(context.Background(), denied)
		}
		if c.arrives == never {
			p.once.proof = func(dtc.LogID, dtc.TxID) dtc.XID { return denied.branch.XID }
		}
		told := w.know.byXID[again.branch.XID]
		w.know.decided(again.from, told, dtc.Committed)
		w.know.proven(told)
		if w.violated != c.violated {
			t.Errorf("%+v: the oracle says %q (%s)", c, w.violated, w.why)
		}
	}
}
