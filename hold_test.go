package dtc_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// undecided leaves a log that holds a transaction over both participants, prepared
// and not decided, and returns the disk and its XID.
func undecided(t *testing.T, list []*dtctest.Memory) (*vfs.Mem, dtc.XID) {
	t.Helper()
	disk := vfs.NewMem()
	var after *vfs.Mem
	var x dtc.XID
	list[0].Plain, list[1].Plain = true, true
	list[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		x, after = b.XID, disk.Kill()
		return dtc.VoteCommit, nil
	}
	// Once it has voted the process that asked is dead, and so is its disk.
	c := open(t, disk, &dtc.Config{Participants: participants(list)})
	_, _ = c.Execute(t.Context(), "t", branches("a", "b")...)
	_ = c.Close()
	for i, p := range list {
		fresh := dtctest.NewMemory(p.ID())
		fresh.Plain = true
		if _, err := fresh.Prepare(t.Context(), dtc.Branch{Participant: p.ID(), XID: x, TxID: "t"}); err != nil {
			t.Fatal(err)
		}
		list[i] = fresh
	}
	return after, x
}

// TestCopiedLogPresumesNothing: a log whose files are copies finds a transaction
// undecided. It waits for an operator's word, over a restart too, and then goes on.
func TestCopiedLogPresumesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk, x := undecided(t, list)
		disk = disk.CopyFiles()
		for range 2 {
			var lines strings.Builder
			c := open(t, disk, &dtc.Config{
				Participants: participants(list), SweepInterval: time.Second, Logger: slog.New(slog.NewTextHandler(&lines, nil)),
			})
			if text := lines.String(); strings.Count(text, "dtc log release") != 1 || !strings.Contains(text, "copies") {
				t.Errorf("an opening under a hold logs\n%s", text)
			}
			time.Sleep(time.Minute)
			held, ok := c.Held()
			if !ok || held.Through != 1 || !strings.Contains(held.Reason, "copies") {
				t.Fatalf("held: %+v, %v", held, ok)
			}
			if o, err := c.Outcome(t.Context(), "t"); o != dtc.OutcomeUnknown || !errors.Is(err, dtc.ErrInDoubt) {
				t.Errorf("its outcome is %v, %v", o, err)
			}
			if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); ok || !errors.Is(err, dtc.ErrInDoubt) {
				t.Errorf("asked again: %v, %v", ok, err)
			}
			if err := c.Resolve(t.Context(), "t", "a", dtc.Committed, "why not"); !errors.Is(err, dtc.ErrBadRequest) {
				t.Errorf("resolve: %v", err)
			}
			n := 0
			for info := range c.Transactions(dtc.Filter{Held: true}) {
				n++
				if info.TxID != "t" || info.Outcome != dtc.OutcomeUnknown {
					t.Errorf("%+v", info)
				}
			}
			if n != 1 || list[0].State(x) != dtctest.Prepared || list[1].State(x) != dtctest.Prepared {
				t.Fatalf("%d are held; the branches are %q and %q", n, list[0].State(x), list[1].State(x))
			}
			if ok, err := c.Execute(t.Context(), "new", branches("a", "b")...); !ok {
				t.Fatalf("a new transaction: %v", err)
			}
			closed(t, c)
		}
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		if err := c.Release(t.Context(), "looked at both"); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Held(); ok {
			t.Error("still held")
		}
		if err := c.Release(t.Context(), "again"); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("released twice: %v", err)
		}
		settle(t, c)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.RolledBack {
			t.Errorf("after the release its outcome is %v, %v", o, err)
		}
		closed(t, c)
		if list[0].State(x) != dtctest.RolledBack || list[1].State(x) != dtctest.RolledBack {
			t.Errorf("the branches are %q and %q", list[0].State(x), list[1].State(x))
		}
		c = open(t, disk, &dtc.Config{Participants: participants(list)})
		if _, ok := c.Held(); ok {
			t.Error("the release is not remembered")
		}
		closed(t, c)
	})
}

// TestUnknownOpeningIsHeeded: a participant holds branches of an opening that this
// log never had. From then on nothing is presumed, low water is told to nobody, and
// the next opening is numbered far above; until an operator says so. The same
// evidence does not begin it again.
func TestUnknownOpeningIsHeeded(t *testing.T) {
	for name, change := range map[string]func(*dtc.XID){
		"Incarnation": func(x *dtc.XID) { x.Incarnation = dtc.Incarnation{Number: 7, Nonce: 1} },
		"Nonce":       func(x *dtc.XID) { x.Incarnation.Nonce++ },
		"Sequence":    func(x *dtc.XID) { x.Seq = 1 << 40 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := services("a", "b")
				disk := vfs.NewMem()
				c := open(t, disk, &dtc.Config{Participants: participants(list)})
				log := c.ID()
				closed(t, c)
				orphan := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, list[0], disk), Seq: 7}
				other := orphan
				change(&other)
				for _, x := range []dtc.XID{orphan, other} {
					if _, err := list[0].Prepare(t.Context(), dtc.Branch{Participant: "a", XID: x, TxID: "lost"}); err != nil {
						t.Fatal(err)
					}
				}
				var mu sync.Mutex
				var lows []dtc.XID
				list[1].OnCommit = func(_ context.Context, b dtc.Branch) error {
					mu.Lock()
					defer mu.Unlock()
					lows = append(lows, b.LowWater)
					return nil
				}
				cfg := &dtc.Config{Participants: participants(list), SweepInterval: time.Second}
				c = open(t, disk, cfg)
				time.Sleep(time.Minute)
				held, ok := c.Held()
				if !ok || held.Through < other.Incarnation.Number || !strings.Contains(held.Reason, "a holds") {
					t.Fatalf("held: %+v, %v", held, ok)
				}
				if list[0].State(orphan) != dtctest.Prepared {
					t.Errorf("the orphan is %q", list[0].State(orphan))
				}
				if ok, err := c.Execute(t.Context(), "t", branches("b")...); !ok {
					t.Fatal(err)
				}
				if len(lows) != 1 || !lows[0].IsZero() {
					t.Errorf("low water is told: %v", lows)
				}
				// It is durable: the power goes, and it still holds.
				next := disk.CrashWith(func(int, int) int { return 0 })
				_ = c.Close()
				var began dtc.XID
				list[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
					began = b.XID
					return dtc.VoteCommit, nil
				}
				c = open(t, next, cfg)
				if _, ok := c.Held(); !ok {
					t.Fatal("the hold is not remembered")
				}
				if ok, err := c.Execute(t.Context(), "u", branches("b")...); !ok {
					t.Fatal(err)
				}
				if held.Through >= 3 && began.Incarnation.Number < held.Through+1<<16 {
					t.Errorf("the opening after the hold through %d is number %d", held.Through, began.Incarnation.Number)
				}
				if err := c.Release(t.Context(), "compared"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if _, ok := c.Held(); ok {
					t.Error("the same evidence began a hold again")
				}
				if list[0].State(orphan) != dtctest.RolledBack || list[0].State(other) != dtctest.Prepared {
					t.Errorf("after the release the orphan is %q, the other log's branch %q", list[0].State(orphan), list[0].State(other))
				}
				newer := other
				newer.Incarnation = dtc.Incarnation{Number: 1 << 20, Nonce: 5}
				if _, err := list[0].Prepare(t.Context(), dtc.Branch{Participant: "a", XID: newer, TxID: "more"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if h, ok := c.Held(); !ok || h.Through != 1<<20 {
					t.Errorf("new evidence: %+v, %v", h, ok)
				}
				closed(t, c)
			})
		})
	}
}

// TestHoldStopsWhatIsOnItsWay: an orphan is being rolled back, and its participant
// does not answer, when an operator begins a hold. It is not called any more until
// the release.
func TestHoldStopsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a")
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		log := c.ID()
		closed(t, c)
		orphan := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, list[0], disk), Seq: 7}
		if _, err := list[0].Prepare(t.Context(), dtc.Branch{Participant: "a", XID: orphan, TxID: "lost"}); err != nil {
			t.Fatal(err)
		}
		down := true
		list[0].OnRollback = func(context.Context, dtc.Branch) error {
			if down {
				return errors.New("not now")
			}
			return nil
		}
		c = open(t, disk, &dtc.Config{Participants: participants(list), SweepInterval: time.Second})
		time.Sleep(10 * time.Second)
		if err := c.Hold(t.Context(), ""); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("a hold without a reason: %v", err)
		}
		if err := c.Hold(t.Context(), "the volume was restored"); err != nil {
			t.Fatal(err)
		}
		calls := list[0].Counts().Calls
		down = false
		time.Sleep(5 * time.Minute)
		if n := list[0].Counts().Calls - calls; n != 0 || list[0].State(orphan) != dtctest.Prepared {
			t.Errorf("%d calls during the hold, and the orphan is %q", n, list[0].State(orphan))
		}
		if err := c.Release(t.Context(), "all is well"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if list[0].State(orphan) != dtctest.RolledBack {
			t.Errorf("after the release the orphan is %q", list[0].State(orphan))
		}
		closed(t, c)
		if err := c.Hold(t.Context(), "late"); !errors.Is(err, dtc.ErrClosed) {
			t.Errorf("a hold after the close: %v", err)
		}
		if err := c.Release(t.Context(), "late"); !errors.Is(err, dtc.ErrClosed) {
			t.Errorf("a release after the close: %v", err)
		}
	})
}

// TestDecidedIsFinishedUnderAHold: what the log says is no presumption.
func TestDecidedIsFinishedUnderAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		down := true
		list[1].OnCommit = func(context.Context, dtc.Branch) error {
			if down {
				return errors.New("not now")
			}
			return nil
		}
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list), CompletionWait: -1})
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		copied := disk.CopyFiles()
		_ = c.Close()
		down = false
		c = open(t, copied, &dtc.Config{Participants: participants(list)})
		if _, ok := c.Held(); !ok {
			t.Fatal("the copy is not held")
		}
		settle(t, c)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Committed {
			t.Errorf("%v, %v", o, err)
		}
		closed(t, c)
		if n := list[1].Counts().Committed; n != 1 {
			t.Errorf("%d commits", n)
		}
	})
}

// TestHoldOutlivesAPresumption: recovery has decided to roll an undecided transaction
// back, and a participant has not heard of it, when an operator begins a hold. It does
// not hear of it after a restart either, until the release.
func TestHoldOutlivesAPresumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk, x := undecided(t, list)
		down := true
		for _, p := range list {
			p.OnRollback = func(context.Context, dtc.Branch) error {
				if down {
					return errors.New("not now")
				}
				return nil
			}
		}
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		time.Sleep(10 * time.Second)
		if err := c.Hold(t.Context(), "the volume was restored"); err != nil {
			t.Fatal(err)
		}
		closed(t, c)
		down = false
		c = open(t, disk, &dtc.Config{Participants: participants(list), SweepInterval: time.Second})
		time.Sleep(5 * time.Minute)
		if list[0].State(x) != dtctest.Prepared || list[1].State(x) != dtctest.Prepared {
			t.Errorf("under the hold the branches are %q and %q", list[0].State(x), list[1].State(x))
		}
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.RolledBack {
			t.Errorf("the outcome that may have been told is %v, %v", o, err)
		}
		if err := c.Release(t.Context(), "all is well"); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		closed(t, c)
		if list[0].State(x) != dtctest.RolledBack || list[1].State(x) != dtctest.RolledBack {
			t.Errorf("after the release the branches are %q and %q", list[0].State(x), list[1].State(x))
		}
	})
}

// TestResolveAfterHold: a hold begins when recovery already rolls back what it found.
// That one can be resolved as before.
func TestResolveAfterHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk, _ := undecided(t, list)
		list[0].Crash()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		time.Sleep(time.Minute)
		if err := c.Hold(t.Context(), "it was restored"); err != nil {
			t.Fatal(err)
		}
		if err := c.Resolve(t.Context(), "t", "a", dtc.RolledBack, "it is gone for ever"); err != nil {
			t.Fatal(err)
		}
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.RolledBack || err != nil {
			t.Errorf("its outcome is %v, %v", o, err)
		}
		closed(t, c)
	})
}

// TestHoldKeepsNoProbe: a hold begins while the participant is down, and keeps its next
// probe from being made. Another one is made when the hold has ended.
func TestHoldKeepsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk, x := undecided(t, list)
		list[0].Crash()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		defer c.Close()
		time.Sleep(time.Minute)
		if err := c.Hold(t.Context(), "it was restored"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		list[0].Restart(true)
		if err := c.Release(t.Context(), "looked at it"); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		if s := list[0].State(x); s != dtctest.RolledBack {
			t.Errorf("its branch is %q", s)
		}
	})
}
