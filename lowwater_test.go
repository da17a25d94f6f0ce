package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc"
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
