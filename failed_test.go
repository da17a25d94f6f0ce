package dtc_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestLogFailsBehind: a write fails for which nobody waits. The coordinator knows at
// once, and begins nothing.
func TestLogFailsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a")
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		synctest.Wait()
		list[0].OnCommit = func(context.Context, dtc.Branch) error {
			disk.FailWrite(1, 0, syscall.EIO) // what is left to write is the end
			return nil
		}
		if ok, err := c.Execute(t.Context(), "u", branches("a")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := c.Err(); !errors.Is(err, dtc.ErrLogFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("the failure is told as %v", err)
		}
		calls := list[0].Counts().Calls
		if _, err := c.Execute(t.Context(), "v", branches("a")...); !errors.Is(err, dtc.ErrLogFailed) || list[0].Counts().Calls != calls {
			t.Errorf("%v, and the participant was called", err)
		}
		if o, err := c.Outcome(t.Context(), "u"); o != dtc.Committed {
			t.Errorf("what is known: %v, %v", o, err)
		}
		// What is not known is perhaps in the log: a question is not answered with "unknown".
		if _, err := c.Outcome(t.Context(), "v"); !errors.Is(err, dtc.ErrLogFailed) || errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("what is not known: %v", err)
		}
		if _, err := c.Transaction("v"); !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("what is not known: %v", err)
		}
		if _, err := c.Commit(t.Context(), "v", nil); !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("to commit what is not known: %v", err)
		}
		if err := c.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("close: %v", err)
		}
	})
}

// TestLogFailsUnderRunTellsNothing: while the work for a transaction that the log did not take
// is being undone, nobody is told that it was rolled back. The log may hold that its id has
// committed before, as the next opening will say.
func TestLogFailsUnderRunTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, disk := services("a")[0], vfs.NewMem()
		down := fn("a")
		down.PrepareFunc, down.InDoubtFunc = a.Prepare, a.InDoubt
		down.RollbackFunc = func(context.Context, dtc.Branch) error { return dtc.NoAnswer(errors.New("down")) }
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{down}})
		err := c.Run(t.Context(), "t", func(ctx context.Context, tx *dtc.Tx) error {
			disk.FailSync(1)
			_ = c.Hold(ctx, "it is forced to the log")
			return tx.Enlist("a", nil)
		})
		if !errors.Is(err, dtc.ErrLogFailed) {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.OutcomeUnknown || !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("its outcome is %s, %v", o, err)
		}
		if info, err := c.Transaction("t"); !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("it is %+v, %v", info, err)
		}
		if info, err := c.Prove(t.Context(), "t"); !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("it is proven to be %+v, %v", info, err)
		}
		if n := c.Stats().Unfinished; n != 1 {
			t.Errorf("%d are being undone", n)
		}
		if _, err := c.Execute(t.Context(), "t", branches("a")...); !errors.Is(err, dtc.ErrLogFailed) && !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("the id again: %v", err)
		}
		_ = c.Close()
	})
}

// TestLogFailsUnderRun: the log takes nothing more when the function of Run has returned.
// Nobody is asked to prepare; but for those whom it enlisted work may have been done, and
// they are told to undo it.
func TestLogFailsUnderRun(t *testing.T) {
	for name, set := range map[string]func(*dtctest.Memory){
		"Listing":     func(*dtctest.Memory) {},
		"Plain":       func(m *dtctest.Memory) { m.Plain = true },
		"OnePhase":    func(m *dtctest.Memory) { m.OnePhase = true },
		"NeverBlocks": func(m *dtctest.Memory) { m.NeverBlocks = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list, disk := services("a"), vfs.NewMem()
				set(list[0])
				rec := &recorder{}
				c := open(t, disk, &dtc.Config{Participants: participants(list), Trace: rec.trace()})
				err := c.Run(t.Context(), "t", func(ctx context.Context, tx *dtc.Tx) error {
					disk.FailSync(1)
					if err := c.Hold(ctx, "it is forced to the log"); !errors.Is(err, dtc.ErrLogFailed) {
						t.Error(err)
					}
					return tx.Enlist("a", nil)
				})
				if !errors.Is(err, dtc.ErrLogFailed) {
					t.Error(err)
				}
				synctest.Wait()
				undone := rec.count("rollback a") + rec.count("settle a")
				asked := rec.count("prepare a") + rec.count("commit_one_phase a") + rec.count("decided rolled_back")
				if n := c.Stats().Unfinished; undone != 1 || asked != 0 || n != 0 || rec.count("ended unknown") != 1 {
					t.Errorf("%d are unfinished, and the steps were %q", n, rec.all())
				}
				if err := c.Close(); err == nil {
					t.Error("the log has not failed")
				}
			})
		})
	}
}
