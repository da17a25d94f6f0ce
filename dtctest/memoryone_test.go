package dtctest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc"
)

func TestMemoryDropsEvidence(t *testing.T) {
	m := NewMemory("m")
	ctx := t.Context()
	low, high := testBranch(1), testBranch(9)
	low.TxID, high.TxID = "low", "high"
	for _, b := range []dtc.Branch{low, high} {
		if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteCommit || err != nil {
			t.Fatal(vote, err)
		}
	}
	m.DropEvidence(testBranch(5).XID)
	for _, c := range []struct {
		b    dtc.Branch
		want dtc.Outcome
		xid  dtc.XID
	}{
		{low, dtc.OutcomeUnknown, dtc.XID{}},
		{high, dtc.Committed, high.XID},
		{testBranch(5), dtc.RolledBack, dtc.XID{}},
	} {
		if got, err := m.Settle(ctx, c.b); got != c.want || err != nil {
			t.Errorf("%s is settled as %v, %v; want %v", c.b.TxID, got, err, c.want)
		}
		if x, err := m.Prove(ctx, c.b.XID.Log, c.b.TxID); x != c.xid || err != nil {
			t.Errorf("%s: found %q, %v; want %q", c.b.TxID, x, err, c.xid)
		}
	}
	if vote, err := m.CommitOnePhase(ctx, low); vote != dtc.VoteAbort || err == nil || errors.Is(err, dtc.Refuse(nil)) {
		t.Errorf("a commit below low water answered %v, %v; want a failure that has to be settled", vote, err)
	}
	n := m.Counts()
	if n.Committed != 2 || n.OnePhase != 2 {
		t.Errorf("counted %+v, want two commits in one phase", n)
	}
}

// What the vote has taken is given back if the work fails, and the call may come again.
func TestMemoryFailsInOnePhase(t *testing.T) {
	m := NewMemory("m")
	ctx := t.Context()
	taken, fails := 0, errors.New("disk full")
	m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
		taken++
		return dtc.VoteCommit, nil
	}
	m.OnCommit = func(context.Context, dtc.Branch) error { return fails }
	m.OnRollback = func(context.Context, dtc.Branch) error {
		taken--
		return nil
	}
	b := testBranch(1)
	if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteAbort || !errors.Is(err, fails) {
		t.Errorf("answered %v, %v; want the error of the work", vote, err)
	}
	if taken != 0 || m.State(b.XID) != Unknown || m.Counts().OnePhase != 0 {
		t.Errorf("a failed commit left %d taken, %q", taken, m.State(b.XID))
	}
	m.OnCommit = nil
	if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteCommit || err != nil || taken != 1 {
		t.Errorf("repeated: %v, %v, %d taken; want it done now", vote, err, taken)
	}

	m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteReadOnly, nil }
	b = testBranch(2)
	b.TxID = "read"
	for range 2 {
		if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteReadOnly || err != nil {
			t.Errorf("a branch that only reads: %v, %v", vote, err)
		}
	}
	m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return 0, dtc.NoAnswer(nil) }
	b = testBranch(3)
	b.TxID = "silent"
	if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) || m.State(b.XID) != Unknown {
		t.Errorf("no answer from the hook became %v, %v, and left %q", vote, err, m.State(b.XID))
	}
}

func TestMemoryCrashInOnePhase(t *testing.T) {
	m := NewMemory("m")
	ctx := t.Context()
	b := testBranch(1)
	m.OnCommit = func(context.Context, dtc.Branch) error {
		m.Crash()
		return nil
	}
	if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) {
		t.Errorf("a crash under the commit answered %v, %v; want no answer", vote, err)
	}
	if _, err := m.Settle(ctx, b); !errors.Is(err, ErrDown) {
		t.Errorf("settle while down: %v", err)
	}
	if _, err := m.Prove(ctx, b.XID.Log, b.TxID); !errors.Is(err, ErrDown) {
		t.Errorf("prove while down: %v", err)
	}
	m.Restart(true)
	if x, err := m.Prove(ctx, b.XID.Log, b.TxID); !x.IsZero() || err != nil {
		t.Errorf("a commit that the crash undid is proved: %q, %v", x, err)
	}
	m.OnCommit = nil
	if vote, err := m.CommitOnePhase(ctx, b); vote != dtc.VoteCommit || err != nil {
		t.Errorf("repeated after the restart: %v, %v", vote, err)
	}
	m.Crash()
	m.Restart(false)
	if got, err := m.Settle(ctx, b); got != dtc.RolledBack || err != nil {
		t.Errorf("settled after the memory was lost as %v, %v; want rolled_back", got, err)
	}
}

// What comes from a later incarnation waits for a commit that is under way.
func TestMemoryFenceWaits(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Memory, dtc.Branch) error{
		"settle":   func(ctx context.Context, m *Memory, b dtc.Branch) error { _, err := m.Settle(ctx, b); return err },
		"prepare":  func(ctx context.Context, m *Memory, b dtc.Branch) error { _, err := m.Prepare(ctx, b); return err },
		"rollback": func(ctx context.Context, m *Memory, b dtc.Branch) error { return m.Rollback(ctx, b) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory("m")
				leave := make(chan struct{})
				m.OnCommit = func(context.Context, dtc.Branch) error {
					<-leave
					return nil
				}
				old, other := testBranch(1), testBranch(1)
				other.TxID, other.XID.Incarnation.Number = "other", 2
				voted := make(chan dtc.Vote, 1)
				go func() {
					vote, _ := m.CommitOnePhase(t.Context(), old)
					voted <- vote
				}()
				synctest.Wait()
				answered := make(chan error, 1)
				go func() { answered <- call(t.Context(), m, other) }()
				synctest.Wait()
				if len(answered) > 0 {
					t.Error("answered while a commit of an earlier incarnation was under way")
				}
				close(leave)
				if vote := <-voted; vote != dtc.VoteCommit {
					t.Errorf("the commit that was under way answered %v", vote)
				}
				if err := <-answered; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// So does what comes under another XID of the same id, and finds it done then.
func TestMemoryCommitsAnIDOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory("m")
		leave := make(chan struct{})
		m.OnCommit = func(context.Context, dtc.Branch) error {
			<-leave
			return nil
		}
		votes := make(chan dtc.Vote)
		for seq := range uint64(2) {
			go func() {
				vote, _ := m.CommitOnePhase(t.Context(), testBranch(seq+1))
				votes <- vote
			}()
		}
		synctest.Wait()
		close(leave)
		for range 2 {
			if vote := <-votes; vote != dtc.VoteCommit {
				t.Errorf("one of two calls for an id answered %v, want vote_commit", vote)
			}
		}
		if n := m.Counts(); n.Committed != 1 {
			t.Errorf("an id was committed %d times", n.Committed)
		}
	})
}

func TestMemoryHookPanicsInOnePhase(t *testing.T) {
	boom := func() { panic("boom") }
	for name, set := range map[string]func(m *Memory){
		"vote": func(m *Memory) {
			m.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { boom(); return 0, nil }
		},
		"work": func(m *Memory) { m.OnCommit = func(context.Context, dtc.Branch) error { boom(); return nil } },
	} {
		m := NewMemory("m")
		set(m)
		for range 2 {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: the panic was swallowed", name)
					}
				}()
				_, _ = m.CommitOnePhase(t.Context(), testBranch(1))
			}()
		}
		if m.State(testBranch(1).XID) != Unknown || m.Rows() != 0 || len(m.running) != 0 {
			t.Errorf("%s: a panic left something", name)
		}
	}
}
