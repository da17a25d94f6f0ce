package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestSweepOfOneThatWasReplaced: what a participant has listed says nothing about another
// one that has taken its place meanwhile.
func TestSweepOfOneThatWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, disk := services("a")[0], vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{old}})
		log := c.ID()
		closed(t, c)
		orphan := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, old, disk), Seq: 7}
		late := services("a")[0]
		if _, err := late.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: orphan, TxID: "lost"}); err != nil {
			t.Fatal(err)
		}
		listed := make(chan struct{})
		slow := dtc.ParticipantFuncs{ParticipantID: "a", PrepareFunc: old.Prepare, InDoubtFunc: func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) {
			<-listed
			return nil, nil
		}}
		var low dtc.XID
		next := dtc.ParticipantFuncs{
			ParticipantID: "a",
			PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
				low = b.LowWater
				return late.Prepare(ctx, b)
			},
			CommitFunc: late.Commit, RollbackFunc: late.Rollback,
			InDoubtFunc: func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, errors.New("not now") },
		}
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{slow}})
		synctest.Wait() // it is being listed
		if err := c.Register(next); err != nil {
			t.Fatal(err)
		}
		close(listed)
		synctest.Wait()
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		if !low.IsZero() {
			t.Errorf("low water is %v at a participant that was never listed and holds %v", low, orphan)
		}
		closed(t, c)
	})
}

// TestReplacedWhileItsProbeHangs: a participant is down, and the one call that would find
// out when it is back never returns. Another one takes its place, and is called at once.
func TestReplacedWhileItsProbeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		hang := make(chan struct{})
		var hangs atomic.Bool
		old := dtc.ParticipantFuncs{ParticipantID: "b", PrepareFunc: list[1].Prepare, InDoubtFunc: list[1].InDoubt, CommitFunc: func(context.Context, dtc.Branch) error {
			if hangs.CompareAndSwap(true, false) {
				<-hang // whatever its context says
			}
			return dtc.NoAnswer(errors.New("down"))
		}}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{list[0], old}, CompletionWait: -1})
		for i := range 5 {
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint(i)), branches("a", "b")...); !ok {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		hangs.Store(true)
		time.Sleep(time.Hour)
		if err := c.Register(list[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := c.Stats().Unfinished; n != 1 {
			t.Errorf("an hour after a healthy one has taken its place %d are unfinished, want the one whose call hangs", n)
		}
		close(hang)
		settle(t, c)
		closed(t, c)
	})
}

// TestReplacedWhileItIsListed: a participant does not say what it holds, nor that it does
// not. Another one that takes its place is swept all the same.
func TestReplacedWhileItIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, disk := services("a")[0], vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{a}})
		log := c.ID()
		closed(t, c)
		orphan := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, a, disk), Seq: 7}
		if _, err := a.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: orphan, TxID: "lost"}); err != nil {
			t.Fatal(err)
		}
		hang := make(chan struct{})
		old := dtc.ParticipantFuncs{ParticipantID: "a", PrepareFunc: a.Prepare, InDoubtFunc: func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) {
			<-hang // whatever its context says
			return nil, nil
		}}
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{old}})
		synctest.Wait()
		if err := c.Register(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s := a.State(orphan); s != dtctest.RolledBack {
			t.Errorf("an hour later the orphan is %q", s)
		}
		close(hang)
		closed(t, c)
	})
}

// TestUnregisteredLeavesNothing: no goroutine goes on for a participant that was taken out.
func TestUnregisteredLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, vfs.NewMem(), &dtc.Config{})
		synctest.Wait()
		before := runtime.NumGoroutine()
		for i := range 100 {
			p := services(fmt.Sprint("p", i))[0]
			if err := c.Register(p); err != nil {
				t.Fatal(err)
			}
			if ok, err := c.Execute(t.Context(), dtc.NewTxID(), branches(p.ID())...); !ok {
				t.Fatal(err)
			}
			if err := c.Unregister(p.ID()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 10 {
			t.Errorf("%d goroutines are left", n)
		}
		closed(t, c)
	})
}
