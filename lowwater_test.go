package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestLowWaterOfThoseThatNeverBlock: low water of everybody waits for a transaction
// that is being worked on, and only that of a dead participant for one that waits.
func TestLowWaterOfThoseThatNeverBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		lows, xids := map[string]dtc.XID{}, map[dtc.TxID]dtc.XID{}
		during := map[dtc.TxID]func(){} // its prepare at the first participant
		inline := func(id string) dtc.ParticipantFuncs {
			p := fn(id)
			p.NeverBlocks = true
			p.PrepareFunc = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
				lows[fmt.Sprint(b.TxID, " at ", id)], xids[b.TxID] = b.LowWater, b.XID
				if f := during[b.TxID]; f != nil {
					delete(during, b.TxID)
					f()
				}
				return dtc.VoteCommit, nil
			}
			p.CommitFunc = func(context.Context, dtc.Branch) error {
				if id == "dead" && !back.Load() {
					return errors.New("gone")
				}
				return nil
			}
			return p
		}
		c := open(t, vfs.NewMem(), &dtc.Config{
			Participants: []dtc.Participant{inline("a"), inline("b"), inline("dead")}, CompletionWait: -1,
		})
		synctest.Wait() // swept
		execute := func(id dtc.TxID, ids ...string) {
			if ok, err := c.Execute(t.Context(), id, branches(ids...)...); !ok {
				t.Fatal(err)
			}
		}
		want := func(low string, of dtc.TxID) {
			t.Helper()
			if lows[low] != xids[of] {
				t.Errorf("low water of %s is %v, want that of %s, %v", low, lows[low], of, xids[of])
			}
		}
		execute("t0", "a", "b")
		want("t0 at b", "t0")
		execute("stuck", "a", "dead")
		execute("t1", "a", "b", "dead")
		want("t1 at a", "t1")
		want("t1 at b", "t1")
		want("t1 at dead", "stuck")
		during["outer"] = func() { execute("inner", "b") }
		execute("outer", "a", "b")
		want("inner at b", "outer")
		want("outer at b", "outer")
		back.Store(true)
		settle(t, c)
		execute("last", "a", "b", "dead")
		want("last at a", "last")
		want("last at dead", "last")
		closed(t, c)
	})
}

// TestLowWaterWaitsForTheUnclear: a participant lists a branch of an earlier
// incarnation that must not be presumed aborted. Until somebody has looked at it low
// water stays below, or its row could be dropped and its commit answered with nothing.
func TestLowWaterWaitsForTheUnclear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, disk := dtctest.NewMemory("a"), vfs.NewMem()
		var shows []dtc.InDoubtBranch
		var low dtc.XID
		p.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			low = b.LowWater
			if b.TxID == "t" {
				shows = []dtc.InDoubtBranch{{XID: b.XID}}
			}
			return dtc.VoteCommit, nil
		}
		lists := dtc.ParticipantFuncs{
			ParticipantID: "a", PrepareFunc: p.Prepare, CommitFunc: p.Commit, RollbackFunc: p.Rollback,
			InDoubtFunc: listsNothing,
		}
		run := func(id dtc.TxID) {
			c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{lists}})
			time.Sleep(time.Second) // the sweep
			if ok, err := c.Execute(t.Context(), id, branches("a")...); !ok {
				t.Fatal(err)
			}
			closed(t, c)
		}
		run("t")
		if low.IsZero() {
			t.Error("nothing holds it back, and low water is not known")
		}
		lists.InDoubtFunc = func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return shows, nil }
		run("u") // "t" has committed, and the participant has lost that
		if !low.IsZero() {
			t.Errorf("low water %v passes %v, which is listed and was committed", low, shows[0].XID)
		}
	})
}
