package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

func decided(t testing.TB, c *dtc.Coordinator, x dtc.XID, participant string, want dtc.Decision) {
	t.Helper()
	if d, err := c.Decision(x, participant); err != nil || d != want {
		t.Errorf("the decision for %s at %s is %v, %v; want %v", x, participant, d, err, want)
	}
}

// twoPhases is a participant that cannot commit in one phase.
func twoPhases(m *dtctest.Memory) dtc.Participant {
	return dtc.ParticipantFuncs{
		ParticipantID: m.ID(), PrepareFunc: m.Prepare, CommitFunc: m.Commit, RollbackFunc: m.Rollback, InDoubtFunc: m.InDoubt,
	}
}

// TestDecision: what a participant hears that asks, at each point of a transaction's
// life and afterwards.
func TestDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b", "c")
		disk := vfs.NewMem()
		all := []dtc.Participant{twoPhases(list[0]), twoPhases(list[1]), twoPhases(list[2])}
		cfg := &dtc.Config{Participants: all, OutcomeLimit: 2, CompletionWait: -1, Trace: &dtc.Trace{}}
		c := open(t, disk, cfg)
		var x dtc.XID
		cfg.Trace.Begun = func(tx dtc.TraceTx) { x = tx.XID }
		list[0].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			if b.TxID == "yes" {
				decided(t, c, b.XID, "a", dtc.Undecided)
				decided(t, c, b.XID, "c", dtc.Undecided)
			}
			return dtc.VoteCommit, nil
		}
		down := unplugged(list[0])
		if ok, err := c.Execute(t.Context(), "yes", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		decided(t, c, x, "a", dtc.DecidedCommit)
		decided(t, c, x, "b", dtc.DecidedCommit)
		decided(t, c, x, "c", dtc.AskLater) // it has no branch there
		yes := x
		down.Store(false)
		settle(t, c)
		list[1].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteAbort, nil }
		if _, err := c.Execute(t.Context(), "no", branches("a", "b")...); !errors.Is(err, dtc.ErrRolledBack) {
			t.Fatal(err)
		}
		no := x
		decided(t, c, no, "a", dtc.DecidedRollback)
		settle(t, c)
		decided(t, c, yes, "a", dtc.DecidedCommit)
		decided(t, c, no, "a", dtc.DecidedRollback)
		next := no
		next.Seq++ // not begun yet
		decided(t, c, next, "a", dtc.AskLater)
		for i := range 2 { // and the limit is two
			_, _ = c.Execute(t.Context(), dtc.TxID(fmt.Sprint("more", i)), branches("a", "b")...)
			settle(t, c)
		}
		decided(t, c, yes, "a", dtc.AskLater)
		decided(t, c, no, "a", dtc.AskLater)

		strange := yes
		strange.Incarnation.Nonce++
		decided(t, c, strange, "a", dtc.AskLater)
		strange = yes
		strange.Seq = 1 << 40
		decided(t, c, strange, "a", dtc.AskLater)
		strange.Log[0] ^= 1
		if _, err := c.Decision(strange, "a"); !errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("another log's: %v", err)
		}
		if _, err := c.Decision(yes, "not good"); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("a bad participant: %v", err)
		}
		closed(t, c)

		c = open(t, disk, cfg)
		time.Sleep(time.Minute)
		decided(t, c, yes, "a", dtc.AskLater) // the log once held it
		lost := yes
		lost.Seq = 1000 // reserved, and never logged: its record may be lost
		decided(t, c, lost, "a", dtc.DecidedRollback)
		if err := c.Hold(t.Context(), "restored"); err != nil {
			t.Fatal(err)
		}
		decided(t, c, lost, "a", dtc.AskLater)
		closed(t, c)
	})
}

// TestDecisionUnderHold: an undecided transaction that a hold covers is nobody's to
// tell.
func TestDecisionUnderHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk, x := undecided(t, list)
		c := open(t, disk.CopyFiles(), &dtc.Config{Participants: participants(list)})
		time.Sleep(time.Minute)
		decided(t, c, x, "a", dtc.AskLater)
		info, err := c.Transaction("t")
		if err != nil || !info.Held || info.State != "preparing" || info.Outcome != dtc.OutcomeUnknown {
			t.Errorf("%+v, %v", info, err)
		}
		if err := c.Release(t.Context(), "looked at both"); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		decided(t, c, x, "a", dtc.DecidedRollback)
		closed(t, c)
	})
}

// TestDecisionWhenTheLogFails: while nobody can know whether the decision is durable
// it is not told.
func TestDecisionWhenTheLogFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk := vfs.NewMem()
		var x dtc.XID
		list[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			x = b.XID
			disk.FailSync(1)
			return dtc.VoteCommit, nil
		}
		c, _, err := tryOpen(disk, &dtc.Config{Participants: participants(list)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Execute(t.Context(), "t", branches("a", "b")...); !errors.Is(err, dtc.ErrInDoubt) {
			t.Fatal(err)
		}
		decided(t, c, x, "a", dtc.AskLater)
		_ = c.Close()
	})
}

// TestDecisionOfAnOrphan: a branch that the sweep rolls back is rolled back, and a
// sister elsewhere hears the same.
func TestDecisionOfAnOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dtctest.NewMemory("a"), dtctest.NewMemory("b")
		a.OnRollback = func(context.Context, dtc.Branch) error { return dtc.NoAnswer(errors.New("down")) }
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{})
		log := c.ID()
		closed(t, c)
		x := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, a, disk), Seq: 7}
		if _, err := a.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: x, TxID: "lost"}); err != nil {
			t.Fatal(err)
		}
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{twoPhases(a), twoPhases(b)}})
		time.Sleep(time.Minute)
		decided(t, c, x, "a", dtc.DecidedRollback)
		decided(t, c, x, "b", dtc.DecidedRollback)
		closed(t, c)
	})
}

// TestDecisionOfOnePhase: a power loss has taken from the log what a participant has committed
// in one phase. That is not presumed to be rolled back.
func TestDecisionOfOnePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, disk := newSingle("x"), vfs.NewMem()
		cfg := &dtc.Config{Participants: []dtc.Participant{x}}
		c := open(t, disk, cfg)
		info, err := c.Transact(t.Context(), "t", nil, branches("x")...)
		if err != nil || info.Outcome != dtc.Committed {
			t.Fatalf("%+v, %v", info, err)
		}
		decided(t, c, info.XID, "x", dtc.DecidedCommit)
		after := disk.CrashWith(func(int, int) int { return 0 })
		_ = c.Close()
		c = open(t, after, cfg)
		decided(t, c, info.XID, "x", dtc.AskLater)
		closed(t, c)
	})
}
