package dtctest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
)

func testBranch(seq uint64) dtc.Branch {
	return dtc.Branch{Participant: "m", TxID: "t", XID: dtc.XID{
		Log: dtc.LogID{9}, Incarnation: dtc.Incarnation{Number: 1}, Seq: seq,
	}}
}

// one is a Flaky that does the given fault to the first call and then nothing.
func one(fault Fault) (*Memory, *Flaky) {
	m := NewMemory("m")
	return m, NewFlaky(m, 1, Faults{Script: func(c Call) (Fault, bool) {
		if c.N == 1 {
			return fault, true
		}
		return NoFault, true
	}})
}

func TestFlakyFaults(t *testing.T) {
	for _, c := range []struct {
		fault    Fault
		answered bool
		effect   State // right after the call
		calls    int   // that reached the participant
	}{
		{NoFault, true, Prepared, 1},
		{Drop, false, Unknown, 0},
		{LoseAnswer, false, Prepared, 1},
		{Late, false, Unknown, 0},
		{Duplicate, true, Prepared, 3},
		{AtOnce, true, Prepared, 2},
		{Echo, true, Prepared, 1},
		{Delay, true, Prepared, 1},
		{CrashBefore, false, Unknown, 0},
		{CrashAfter, false, Prepared, 1},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, f := one(c.fault)
				vote, err := f.Prepare(t.Context(), testBranch(1))
				if c.answered && (vote != dtc.VoteCommit || err != nil) {
					t.Errorf("answered %v, %v; want vote_commit", vote, err)
				}
				if !c.answered && (vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) || !errors.Is(err, ErrInjected)) {
					t.Errorf("answered %v, %v; want no answer", vote, err)
				}
				if got := m.State(testBranch(1).XID); got != c.effect {
					t.Errorf("the branch is %q, want %q", got, c.effect)
				}
				if got := m.Counts().Calls; got != c.calls {
					t.Errorf("%d calls arrived, want %d", got, c.calls)
				}
				if c.fault != NoFault && f.Injected()[c.fault] != 1 {
					t.Errorf("counted %v", f.Injected())
				}
				down := c.fault == CrashBefore || c.fault == CrashAfter
				if f.Down() != down {
					t.Errorf("down = %v, want %v", f.Down(), down)
				}
				if down {
					if _, err := f.InDoubt(t.Context(), testBranch(1).XID.Log); !errors.Is(err, ErrInjected) {
						t.Errorf("a crashed participant listed: %v", err)
					}
					f.Restart()
				}
				if vote, err := f.Prepare(t.Context(), testBranch(2)); vote != dtc.VoteCommit || err != nil {
					t.Errorf("the next call: %v, %v", vote, err)
				}
			})
		})
	}
}

// A late prepare arrives after its branch was rolled back.
func TestFlakyDeliversLate(t *testing.T) {
	m, f := one(Late)
	ctx := t.Context()
	if _, err := f.Prepare(ctx, testBranch(1)); !errors.Is(err, dtc.ErrNoAnswer) {
		t.Fatal(err)
	}
	if err := m.Rollback(ctx, testBranch(1)); err != nil {
		t.Fatal(err)
	}
	before := m.Counts().Calls
	if n := f.DeliverLate(ctx); n != 1 || m.Counts().Calls != before+1 {
		t.Errorf("%d delivered, %d arrived; want 1", n, m.Counts().Calls-before)
	}
	if got := m.State(testBranch(1).XID); got != RolledBack {
		t.Errorf("the branch is %q, want rolled_back", got)
	}
	if n := f.DeliverLate(ctx); n != 0 {
		t.Errorf("delivered again: %d", n)
	}
}

func TestFlakyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := one(Hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := f.Prepare(ctx, testBranch(1)); !errors.Is(err, dtc.ErrNoAnswer) {
			t.Error(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("hung for %v, want until the context ended", took)
		}

		m, f := one(HangPast)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		returned := make(chan error)
		go func() {
			_, err := f.Prepare(ctx, testBranch(1))
			returned <- err
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.Counts().Calls != 0 {
			t.Error("delivered before it was released")
		}
		f.Release()
		if err := <-returned; err != nil || m.State(testBranch(1).XID) != Prepared {
			t.Errorf("released: %v, branch %q; want it delivered after all", err, m.State(testBranch(1).XID))
		}
	})
}

func TestFlakyKeepsAbilities(t *testing.T) {
	m := NewMemory("m")
	f := NewFlaky(m, 1, Faults{})
	if !f.Listing() || f.NonBlocking() || f.ID() != "m" {
		t.Error("abilities differ from the participant's")
	}
	m.Plain, m.NeverBlocks = true, true
	if f.Listing() || !f.NonBlocking() {
		t.Error("abilities differ from the changed participant's")
	}
	if NewFlaky(m, 1, Faults{Rate: map[Fault]float64{Hang: 0.1}}).NonBlocking() {
		t.Error("a participant that may hang says that it never waits")
	}
	plain := NewFlaky(dtc.ParticipantFuncs{ParticipantID: "p"}, 1, Faults{})
	if plain.Listing() || plain.NonBlocking() {
		t.Error("a plain participant got abilities")
	}
}

// The same seed does the same, and every fault has its turn.
func TestFlakyIsRepeatable(t *testing.T) {
	run := func(seed uint64) (map[Fault]int, Counts) {
		var m *Memory
		var f *Flaky
		synctest.Test(t, func(t *testing.T) {
			m = NewMemory("m")
			rates := map[Fault]float64{}
			for fault := Drop; fault < numFaults; fault++ {
				if fault != HangPast {
					rates[fault] = 0.06
				}
			}
			f = NewFlaky(m, seed, Faults{Rate: rates, OnCrash: m.Crash, OnRestart: func() { m.Restart(true) }})
			for seq := range uint64(400) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				b := testBranch(seq + 1)
				_, _ = f.Prepare(ctx, b)
				_ = f.Rollback(ctx, b)
				cancel()
				if f.Down() {
					f.Restart()
				}
			}
			f.Heal()
			f.DeliverLate(t.Context())
			for seq := range uint64(400) {
				if err := f.Rollback(t.Context(), testBranch(seq+1)); err != nil {
					t.Errorf("rollback after healing: %v", err)
				}
			}
		})
		if len(m.Prepared()) > 0 {
			t.Errorf("%d branches are in doubt at rest", len(m.Prepared()))
		}
		return f.Injected(), m.Counts()
	}
	faults1, counts1 := run(7)
	faults2, counts2 := run(7)
	if !maps.Equal(faults1, faults2) || counts1 != counts2 {
		t.Errorf("seed 7 did %v %+v, then %v %+v", faults1, counts1, faults2, counts2)
	}
	if len(faults1) != int(numFaults)-2 {
		t.Errorf("only these faults were injected: %v", faults1)
	}
	if faults3, _ := run(8); maps.Equal(faults1, faults3) {
		t.Error("another seed did the same")
	}
}

func TestMemoryCrash(t *testing.T) {
	m := NewMemory("m")
	ctx := t.Context()
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
		once.Do(func() {
			close(entered)
			<-leave
		})
		return dtc.VoteCommit, nil
	}
	voted := make(chan error)
	go func() {
		_, err := m.Prepare(ctx, testBranch(1))
		voted <- err
	}()
	<-entered
	m.Crash()
	if err := m.Commit(ctx, testBranch(2)); !errors.Is(err, ErrDown) {
		t.Errorf("commit while down: %v", err)
	}
	m.Restart(true)
	close(leave)
	if err := <-voted; !errors.Is(err, dtc.ErrNoAnswer) {
		t.Errorf("a prepare that ran during a crash answered %v, want no answer", err)
	}
	if got := m.State(testBranch(1).XID); got != Unknown {
		t.Errorf("it left %q", got)
	}
	if vote, err := m.Prepare(ctx, testBranch(1)); vote != dtc.VoteCommit || err != nil {
		t.Errorf("prepare: %v, %v", vote, err)
	}
	m.Crash()
	m.Restart(false)
	if err := m.Commit(ctx, testBranch(1)); !errors.Is(err, dtc.ErrUnknownBranch) {
		t.Errorf("commit after the memory was lost: %v, want unknown", err)
	}
}

func TestMemoryHookPanics(t *testing.T) {
	m := NewMemory("m")
	m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { panic("boom") }
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = m.Prepare(t.Context(), testBranch(1))
		}()
	}
	if got := m.State(testBranch(1).XID); got != Unknown || m.Rows() != 0 {
		t.Errorf("a panic left %q", got)
	}
}
