package dtc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestSteps: a transaction is begun, grows, and is committed, each step once or
// repeated; nothing is called before the last one.
func TestSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list), KeepEnded: 10})
		info, begun, err := c.Begin("t", nil)
		if err != nil || !begun || info.State != "active" || info.TxID != "t" || info.XID.IsZero() {
			t.Fatalf("%+v, %v, %v", info, begun, err)
		}
		again, begun, err := c.Begin("t", nil)
		if err != nil || begun || again.XID != info.XID {
			t.Errorf("begun again: %+v, %v, %v", again, begun, err)
		}
		for i, b := range branches("a", "b") {
			if x, added, err := c.Enlist("t", b); err != nil || !added || x != info.XID {
				t.Fatalf("%v, %v, %v", x, added, err)
			}
			b.Payload = []byte(" " + string(b.Payload))
			if x, added, err := c.Enlist("t", b); err != nil || added || x != info.XID {
				t.Errorf("the same again: %v, %v, %v", x, added, err)
			}
			b.Payload = []byte("{}")
			if _, _, err := c.Enlist("t", b); !errors.Is(err, dtc.ErrTxConflict) {
				t.Errorf("another payload: %v", err)
			}
			if one, err := c.Transaction("t"); err != nil || one.State != "active" || len(one.Branches) != i+1 || one.Branches[i].State != "enlisted" {
				t.Errorf("%+v, %v", one, err)
			}
		}
		if _, _, err := c.Enlist("t", dtc.Branch{Participant: "nobody"}); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("nobody: %v", err)
		}
		synctest.Wait()
		if n := list[0].Counts(); n.Prepared != 0 {
			t.Errorf("called before the commit: %+v", n)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				done, err := c.Commit(t.Context(), "t", nil)
				if err != nil || done.Outcome != dtc.Committed || len(done.Branches) != 2 || done.XID != info.XID {
					t.Errorf("%+v, %v", done, err)
				}
			})
		}
		wg.Wait()
		settle(t, c)
		if n := list[1].Counts(); n.Prepared != 1 || n.Committed != 1 {
			t.Errorf("%+v", n)
		}
		end, err := c.Transaction("t")
		if err != nil || end.State != "committed" || end.Ended.IsZero() || end.Decided.IsZero() || end.Branches[1].State != "committed" {
			t.Errorf("%+v, %v", end, err)
		}
		if _, _, err := c.Begin("t", nil); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("begun after its end: %v", err)
		}
		if _, _, err := c.Enlist("t", branches("a")[0]); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("grown after its end: %v", err)
		}
		if done, err := c.Rollback(t.Context(), "t", nil); err != nil || done.Outcome != dtc.Committed {
			t.Errorf("what is committed stays so: %+v, %v", done, err)
		}
		closed(t, c)
		c = open(t, disk, &dtc.Config{Participants: participants(list)})
		if done, err := c.Commit(t.Context(), "t", nil); err != nil || done.Outcome != dtc.Committed || done.XID != info.XID || done.Ended.IsZero() {
			t.Errorf("after a restart: %+v, %v", done, err)
		}
		closed(t, c)
	})
}

// TestStepsRollBack: by request, at the end of its life, and when the coordinator is
// closed. What may have been done for a branch is undone.
func TestStepsRollBack(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*dtc.Coordinator) error
		code dtc.Code
		says string
	}{
		"Request": {func(c *dtc.Coordinator) error {
			info, err := c.Rollback(context.Background(), "t", nil)
			if err == nil && info.Outcome != dtc.RolledBack {
				err = errors.New(info.State)
			}
			return err
		}, dtc.ReasonCancelled, "on request"},
		"Life":  {func(*dtc.Coordinator) error { time.Sleep(time.Minute + time.Second); return nil }, dtc.ReasonDeadline, "lifetime"},
		"Close": {(*dtc.Coordinator).Close, dtc.ReasonShuttingDown, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := services("a", "b")
				var why dtc.Reason
				coordinator := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), Trace: &dtc.Trace{
					Decided: func(_ dtc.TraceTx, _ dtc.Outcome, r dtc.Reason) { why = r },
				}})
				if _, _, err := coordinator.Begin("t", nil); err != nil {
					t.Fatal(err)
				}
				if _, _, err := coordinator.Enlist("t", branches("a")[0]); err != nil {
					t.Fatal(err)
				}
				if err := c.end(coordinator); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if why.Code != c.code || !strings.Contains(why.Message, c.says) {
					t.Errorf("the reason is %+v", why)
				}
				if info, err := coordinator.Transaction("t"); name != "Close" && (err != nil || info.Outcome != dtc.RolledBack || info.Reason.Code != c.code) {
					t.Errorf("%+v, %v", info, err)
				}
				closed(t, coordinator)
				if n := list[0].Counts(); n.Calls != 1 || n.Tombstones != 1 {
					t.Errorf("a: %+v", n)
				}
				if n := list[1].Counts(); n.Calls != 0 {
					t.Errorf("b was not enlisted: %+v", n)
				}
			})
		})
	}
}

// TestStepsAfterACrash: what grew is lost, and a request to begin it that comes late
// brings about another one under the same id. Who names the XID is not told that it
// committed what was lost, and nobody commits nothing.
func TestStepsAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: participants(list)}
		c := open(t, disk, cfg)
		lost, _, err := c.Begin("t", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Enlist("t", branches("a")[0]); err != nil {
			t.Fatal(err)
		}
		after := disk.Kill()
		closed(t, c)
		c = open(t, after, cfg)
		mine := &dtc.TxOptions{XID: lost.XID}
		if _, err := c.Commit(t.Context(), "t", mine); !errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("committed before it is begun again: %v", err)
		}
		again, begun, err := c.Begin("t", nil) // late, or sent twice
		if err != nil || !begun || again.XID == lost.XID {
			t.Fatalf("%+v, %v, %v", again, begun, err)
		}
		if _, err := c.Commit(t.Context(), "t", nil); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("committed without branches: %v", err)
		}
		late := branches("b")[0]
		late.XID = lost.XID
		if _, _, err := c.Enlist("t", late); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("grown as the lost one: %v", err)
		}
		late.XID = again.XID
		if _, _, err := c.Enlist("t", late); err != nil {
			t.Error(err)
		}
		if _, err := c.Commit(t.Context(), "t", mine); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("committed as the lost one: %v", err)
		}
		if _, err := c.Rollback(t.Context(), "t", mine); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("rolled back as the lost one: %v", err)
		}
		info, err := c.Commit(t.Context(), "t", &dtc.TxOptions{XID: again.XID})
		if err != nil || info.Outcome != dtc.Committed {
			t.Errorf("%+v, %v", info, err)
		}
		settle(t, c)
		if _, err := c.Commit(t.Context(), "t", mine); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("remembered as the lost one: %v", err)
		}
		if info, err := c.Commit(t.Context(), "t", &dtc.TxOptions{XID: again.XID}); err != nil || info.Outcome != dtc.Committed {
			t.Errorf("asked again: %+v, %v", info, err)
		}
		closed(t, c)
	})
}

// TestStepsOfOthers: what was not begun by steps is not ended by them, and what is not
// known is nobody's.
func TestStepsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list)})
		steps := map[string]func(dtc.TxID) error{
			"Enlist":   func(id dtc.TxID) error { _, _, err := c.Enlist(id, branches("a")[0]); return err },
			"Commit":   func(id dtc.TxID) error { _, err := c.Commit(t.Context(), id, nil); return err },
			"Rollback": func(id dtc.TxID) error { _, err := c.Rollback(t.Context(), id, nil); return err },
		}
		all := func(id dtc.TxID, want error) {
			t.Helper()
			for name, step := range steps {
				if err := step(id); !errors.Is(err, want) {
					t.Errorf("%s of %s: %v", name, id, err)
				}
			}
		}
		all("never", dtc.ErrUnknownTx)
		all("not good", dtc.ErrBadRequest)
		list[0].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			all("run", dtc.ErrTxConflict)
			if _, _, err := c.Begin("run", nil); !errors.Is(err, dtc.ErrTxConflict) {
				t.Errorf("begun while it runs: %v", err)
			}
			return dtc.VoteCommit, nil
		}
		if ok, err := c.Execute(t.Context(), "run", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		settle(t, c)
		all("run", dtc.ErrTxConflict)
		if err := c.Run(t.Context(), "fn", func(ctx context.Context, tx *dtc.Tx) error {
			all("fn", dtc.ErrTxConflict)
			return nil
		}); err != nil {
			t.Error(err)
		}
		for _, life := range []time.Duration{-1, 2 * time.Hour} {
			if _, _, err := c.Begin("long", &dtc.TxOptions{Lifetime: life}); !errors.Is(err, dtc.ErrBadRequest) {
				t.Errorf("a life of %v: %v", life, err)
			}
		}
		closed(t, c)
		if _, _, err := c.Begin("late", nil); !errors.Is(err, dtc.ErrClosed) {
			t.Errorf("begun after the end: %v", err)
		}
	})
}

// TestStepsRace: enlisting, committing, rolling back and closing at once. However it
// ends, it ends once, the same for everybody, and no branch is left behind.
func TestStepsRace(t *testing.T) {
	for round := range 200 {
		list := services("a", "b", "c")
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), KeepEnded: 1})
		_, _, err := c.Begin("t", &dtc.TxOptions{Lifetime: time.Duration(1+round%3) * 100 * time.Microsecond})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var outcomes [dtc.Heuristic + 1]atomic.Int32
		var enlisted atomic.Int32
		for _, b := range branches("a", "b", "c") {
			wg.Go(func() {
				if _, added, err := c.Enlist("t", b); err == nil && added {
					enlisted.Add(1)
				} else if !errors.Is(err, dtc.ErrTxConflict) {
					t.Errorf("enlist: %v", err)
				}
			})
			wg.Go(func() {
				step := func() (dtc.TxInfo, error) { return c.Commit(context.Background(), "t", nil) }
				if b.Participant == "a" {
					step = func() (dtc.TxInfo, error) { return c.Rollback(context.Background(), "t", nil) }
				}
				if info, err := step(); err == nil {
					outcomes[info.Outcome].Add(1)
				} else if round%2 == 0 && !errors.Is(err, dtc.ErrBadRequest) { // without branches yet
					t.Errorf("%v", err)
				}
			})
		}
		if round%2 == 1 {
			wg.Go(func() { _ = c.Close() })
		}
		wg.Wait()
		info, err := c.Transaction("t")
		if err != nil || len(info.Branches) != int(enlisted.Load()) {
			t.Errorf("%d were enlisted: %+v, %v", enlisted.Load(), info, err)
		}
		closed(t, c)
		if c, r := outcomes[dtc.Committed].Load(), outcomes[dtc.RolledBack].Load(); c > 0 && r > 0 {
			t.Fatalf("told committed %d times and rolled back %d times", c, r)
		}
		for _, p := range list {
			if left, _ := p.InDoubt(t.Context(), c.ID()); len(left) > 0 {
				t.Errorf("%s holds %v", p.ID(), left)
			}
		}
	}
}

// TestNewTxID: ids are good ones, and never the same.
func TestNewTxID(t *testing.T) {
	c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{dtctest.NewMemory("a")}})
	defer closed(t, c)
	seen := map[dtc.TxID]bool{}
	for range 100 {
		id := dtc.NewTxID()
		if _, begun, err := c.Begin(id, nil); err != nil || !begun || seen[id] {
			t.Fatalf("%s: %v", id, err)
		}
		seen[id] = true
	}
}
