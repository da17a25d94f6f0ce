package dtctest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
)

func TestFlakyFaultsInOnePhase(t *testing.T) {
	for _, c := range []struct {
		fault    Fault
		answered bool
		effect   State // right after the call
		calls    int   // that reached the participant
	}{
		{NoFault, true, Committed, 1},
		{Drop, false, Unknown, 0},
		{LoseAnswer, false, Committed, 1},
		{Late, false, Unknown, 0},
		{Duplicate, true, Committed, 3},
		{AtOnce, true, Committed, 2},
		{Echo, true, Committed, 1},
		{Delay, true, Committed, 1},
		{CrashBefore, false, Unknown, 0},
		{CrashAfter, false, Committed, 1},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, f := one(c.fault)
				m.OnePhase = true
				b := testBranch(1)
				vote, err := f.CommitOnePhase(t.Context(), b)
				if c.answered && (vote != dtc.VoteCommit || err != nil) {
					t.Errorf("answered %v, %v; want vote_commit", vote, err)
				}
				if !c.answered && (vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) || !errors.Is(err, ErrInjected)) {
					t.Errorf("answered %v, %v; want no answer", vote, err)
				}
				n := m.Counts()
				if got := m.State(b.XID); got != c.effect || n.Calls != c.calls {
					t.Errorf("the branch is %q after %d calls, want %q after %d", got, n.Calls, c.effect, c.calls)
				}
				f.Heal()
				want := dtc.RolledBack
				if c.effect == Committed {
					want = dtc.Committed
				}
				if got, err := m.Settle(t.Context(), b); got != want || err != nil {
					t.Errorf("settled as %v, %v; want %v", got, err, want)
				}
				late := 0
				if c.fault == Late || c.fault == Echo {
					late = 1
				}
				if got := f.DeliverLate(t.Context()); got != late || m.Counts().OnePhase != n.OnePhase {
					t.Errorf("%d delivered late, want %d, and %d commits in one phase, want %d", got, late, m.Counts().OnePhase, n.OnePhase)
				}
			})
		})
	}
}

func TestFlakySettles(t *testing.T) {
	for _, c := range []struct {
		fault    Fault
		answered bool
		effect   State
	}{
		{NoFault, true, RolledBack},
		{Drop, false, Unknown},
		{LoseAnswer, false, RolledBack},
		{Late, false, Unknown},
		{Duplicate, true, RolledBack},
		{CrashBefore, false, Unknown},
		{CrashAfter, false, RolledBack},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			m, f := one(c.fault)
			b := testBranch(1)
			got, err := f.Settle(t.Context(), b)
			if c.answered && (got != dtc.RolledBack || err != nil) {
				t.Errorf("answered %v, %v; want rolled_back", got, err)
			}
			if !c.answered && (got != dtc.OutcomeUnknown || !errors.Is(err, ErrInjected)) {
				t.Errorf("answered %v, %v; want an injected error", got, err)
			}
			if got := m.State(b.XID); got != c.effect {
				t.Errorf("the branch is %q, want %q", got, c.effect)
			}
			f.Heal()
			if f.DeliverLate(t.Context()) == 1 && m.State(b.XID) != RolledBack {
				t.Errorf("after a late settle the branch is %q", m.State(b.XID))
			}
		})
	}
}

// What is late arrives: nobody had settled it.
func TestFlakyDeliversLateInOnePhase(t *testing.T) {
	m, f := one(Late)
	b := testBranch(1)
	if _, err := f.CommitOnePhase(t.Context(), b); !errors.Is(err, dtc.ErrNoAnswer) || m.Committed(b.XID) {
		t.Fatalf("answered %v, committed = %v; want neither", err, m.Committed(b.XID))
	}
	if n := f.DeliverLate(t.Context()); n != 1 || !m.Committed(b.XID) {
		t.Errorf("%d delivered, committed = %v; want the late commit to have its effect", n, m.Committed(b.XID))
	}
}

// A question has no late effect: its answer is lost instead.
func TestFlakyProves(t *testing.T) {
	for _, fault := range []Fault{NoFault, Drop, LoseAnswer, Late, Echo, Duplicate, CrashAfter} {
		m := NewMemory("m")
		b := testBranch(1)
		if vote, err := m.CommitOnePhase(t.Context(), b); vote != dtc.VoteCommit || err != nil {
			t.Fatal(vote, err)
		}
		var seen Call
		f := NewFlaky(m, 1, Faults{Script: func(c Call) (Fault, bool) {
			seen = c
			return fault, true
		}})
		x, err := f.Prove(t.Context(), b.XID.Log, b.TxID)
		if answered := fault == NoFault || fault == Duplicate; answered != (err == nil) || answered != (x == b.XID) {
			t.Errorf("%v: found %q, %v", fault, x, err)
		}
		if seen.Method != MethodProve || seen.Branch.TxID != b.TxID || seen.Branch.XID.Log != b.XID.Log {
			t.Errorf("%v: the script saw %+v", fault, seen)
		}
		f.Heal()
		if n := f.DeliverLate(t.Context()); n != 0 {
			t.Errorf("%v: %d questions delivered late", fault, n)
		}
	}
}

// A commit in one phase that outlives its context finds that it was settled.
func TestFlakyHangsInOnePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, f := one(HangPast)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var vote dtc.Vote
		returned := make(chan error)
		go func() {
			var err error
			vote, err = f.CommitOnePhase(ctx, testBranch(1))
			returned <- err
		}()
		<-ctx.Done()
		synctest.Wait()
		if got, err := f.Settle(t.Context(), testBranch(1)); got != dtc.RolledBack || err != nil {
			t.Errorf("settled as %v, %v; want rolled_back", got, err)
		}
		f.Release()
		if err := <-returned; vote != dtc.VoteAbort || errors.Is(err, dtc.ErrNoAnswer) || m.Counts().Committed != 0 {
			t.Errorf("released: %v, %v, %d committed; want it refused", vote, err, m.Counts().Committed)
		}
	})
}

func TestFlakyKeepsOnePhase(t *testing.T) {
	m := NewMemory("m")
	f := NewFlaky(m, 1, Faults{})
	if f.CanOnePhase(testBranch(1)) {
		t.Error("can do what the participant cannot")
	}
	m.OnePhase = true
	if !f.CanOnePhase(testBranch(1)) || f.Calls() != 0 {
		t.Errorf("cannot do what the participant can, or has called it %d times", f.Calls())
	}

	plain := NewFlaky(dtc.ParticipantFuncs{ParticipantID: "m"}, 1, Faults{})
	if plain.CanOnePhase(testBranch(1)) {
		t.Error("a plain participant got the ability")
	}
	if vote, err := plain.CommitOnePhase(t.Context(), testBranch(1)); vote != dtc.VoteAbort || err == nil {
		t.Errorf("a plain participant committed in one phase: %v, %v", vote, err)
	}
	if got, err := plain.Settle(t.Context(), testBranch(1)); err == nil {
		t.Errorf("a plain participant settled: %v", got)
	}
	if got, err := plain.Prove(t.Context(), dtc.LogID{9}, "t"); err == nil {
		t.Errorf("a plain participant proved: %v", got)
	}
}
