//go:build canary

package dtc_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestCanaries: a transaction begins after the sweep has looked, and before it
// lists. With the look where it belongs, after the listing, the transaction is seen
// to run. A coordinator that looks first takes its branch for one that nobody owns.
// By itself that is a false alarm: what this process began is not presumed aborted.
// Without that rule too it would be rolled back under a transaction that commits.
func TestCanaries(t *testing.T) {
	for _, tt := range []struct {
		bug     canary.Bug
		orphans int
		alarms  int
		hazards uint64
		outcome dtctest.State
	}{
		{bug: canary.None, outcome: dtctest.Committed},
		{bug: canary.LookBeforeList, alarms: 1, outcome: dtctest.Committed},
		{bug: canary.PresumeOwn, orphans: 1, hazards: 1, outcome: dtctest.RolledBack},
	} {
		t.Run("sweep "+string(tt.bug), func(t *testing.T) {
			canary.Active = tt.bug
			defer func() { canary.Active = canary.None }()
			synctest.Test(t, func(t *testing.T) {
				got := sweepBeside(t)
				if got.orphans != tt.orphans || got.alarms != tt.alarms || got.hazards != tt.hazards || got.a != tt.outcome {
					t.Errorf("%+v, want %+v", got, tt)
				}
				if got.b != dtctest.Committed {
					t.Errorf("the branch at b is %v", got.b)
				}
				t.Logf("%d rolled back by the sweep, %d alarms, %d hazards, a is %v and b is %v\n%s",
					got.orphans, got.alarms, got.hazards, got.a, got.b, got.lines)
			})
		})
	}
}

type swept struct {
	orphans, alarms int
	hazards         uint64
	a, b            dtctest.State
	lines           string
}

// sweepBeside lets the first listing of a wait until a transaction is prepared there,
// and the transaction commit when the sweep is over.
func sweepBeside(t *testing.T) (got swept) {
	list := services("a", "b")
	var xid dtc.XID
	prepared, over := make(chan bool), make(chan bool)
	list[0].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		xid = b.XID
		return dtc.VoteCommit, nil
	}
	first := dtc.ParticipantFuncs{
		ParticipantID: "a", CommitFunc: list[0].Commit, RollbackFunc: list[0].Rollback,
		PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			v, err := list[0].Prepare(ctx, b)
			close(prepared)
			return v, err
		},
		InDoubtFunc: func(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
			<-prepared
			return list[0].InDoubt(ctx, log)
		},
	}
	list[1].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
		<-over
		return dtc.VoteCommit, nil
	}
	var lines strings.Builder
	once := true
	c := open(t, vfs.NewMem(), &dtc.Config{
		Participants: []dtc.Participant{first, list[1]}, SweepInterval: time.Hour,
		Logger: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Timing: dtc.Timing{PrepareAttempt: time.Minute, PrepareTimeout: time.Minute},
		Trace: &dtc.Trace{Swept: func(id string, _, orphans int, _ error) {
			if id == "a" && once {
				once, got.orphans = false, orphans
				time.AfterFunc(time.Second, func() { close(over) })
			}
		}},
	})
	synctest.Wait() // it has looked, if it looks first
	_, err := c.Execute(t.Context(), "t", branches("a", "b")...)
	time.Sleep(time.Second)
	got.hazards = uint64(c.Stats().Hazards)
	got.a, got.b = list[0].State(xid), list[1].State(xid)
	if got.hazards == 0 && err != nil {
		t.Error(err)
	}
	if got.hazards > 0 && err == nil {
		t.Error("it is told committed, and a branch is rolled back")
	}
	if got.hazards == 0 {
		closed(t, c)
	} else {
		_ = c.Close()
	}
	got.lines = lines.String()
	got.alarms = strings.Count(got.lines, "must not be presumed aborted")
	return got
}
