package dtc_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
)

func TestBothPhasesCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("inventory", "payment", "orders")
		var rec recorder
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), Trace: rec.trace()})
		ok, err := c.Execute(t.Context(), "order-42", branches("inventory", "payment", "orders")...)
		if !ok || err != nil {
			t.Fatalf("got %v, %v", ok, err)
		}
		closed(t, c)
		for _, p := range list {
			if n := p.Counts(); n.Prepared != 1 || n.Committed != 1 || n.RolledBack != 0 {
				t.Errorf("%s: %+v", p.ID(), n)
			}
		}
		steps := rec.all()
		decided := slices.Index(steps, "decided committed")
		for i, s := range steps {
			switch {
			case strings.HasPrefix(s, "prepare ") && i > decided, strings.HasPrefix(s, "commit ") && i < decided:
				t.Errorf("%q is on the wrong side of the decision: %q", s, steps)
			}
		}
		if f := slices.Index(steps, "forced commit"); f < 0 || f > decided {
			t.Errorf("decided before the decision was forced: %q", steps)
		}
		if steps[len(steps)-1] != "ended committed" {
			t.Errorf("the transaction did not end: %q", steps)
		}
	})
}

func TestBothPhasesRollBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("inventory", "payment", "orders")
		outOfStock := errors.New("out of stock")
		list[0].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteAbort, outOfStock }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list)})
		ok, err := c.Execute(t.Context(), "order-42", branches("inventory", "payment", "orders")...)
		if ok || !errors.Is(err, dtc.ErrRolledBack) || !errors.Is(err, outOfStock) {
			t.Fatalf("got %v, %v; want rolled back because out of stock", ok, err)
		}
		var rolled *dtc.RollbackError
		if !errors.As(err, &rolled) || rolled.Reason.Participant != "inventory" || rolled.Reason.Code != dtc.ReasonVoteAbort {
			t.Errorf("the error is %#v", err)
		}
		settle(t, c)
		closed(t, c)
		for _, p := range list {
			if p.Counts().Committed != 0 || len(p.Prepared()) != 0 {
				t.Errorf("%s holds something: %+v", p.ID(), p.Counts())
			}
		}
	})
}

// TestTimeoutIsAbort: a participant that never answers counts as vote_abort when
// the prepare timeout has passed, wherever that was configured.
func TestTimeoutIsAbort(t *testing.T) {
	for _, level := range []string{"coordinator", "participant", "transaction"} {
		t.Run(level, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := services("inventory", "payment")
				list[1].OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
					<-ctx.Done()
					return dtc.VoteCommit, ctx.Err()
				}
				cfg := &dtc.Config{Participants: participants(list)}
				var opts *dtc.TxOptions
				want := 3 * time.Second
				switch level {
				case "coordinator":
					cfg.Timing.PrepareTimeout = want
				case "participant":
					cfg.Timing.PrepareTimeout = time.Second
					cfg.ParticipantTiming = map[string]dtc.Timing{"payment": {PrepareTimeout: want}}
				case "transaction":
					opts = &dtc.TxOptions{PrepareTimeout: want}
				}
				if opts == nil {
					opts = &dtc.TxOptions{}
				}
				opts.CompletionWait = -1
				c := open(t, vfs.NewMem(), cfg)
				began := time.Now()
				ok, err := c.ExecuteWith(t.Context(), "t", opts, branches("inventory", "payment")...)
				if took := time.Since(began); took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
				var rolled *dtc.RollbackError
				if ok || !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonPrepareTimeout || rolled.Reason.Participant != "payment" {
					t.Fatalf("got %v, %v", ok, err)
				}
				settle(t, c)
				closed(t, c)
				if len(list[0].Prepared()) != 0 {
					t.Error("inventory still holds its branch")
				}
			})
		})
	}
}

// TestForcedWrites counts syncs at the file system: one for a commit over
// listing participants, none for a rollback or when nothing was changed, and one
// more with a plain participant.
func TestForcedWrites(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plain bool
		vote  dtc.Vote
		want  int
	}{
		{"committed, all listing", false, dtc.VoteCommit, 1},
		{"committed, one plain", true, dtc.VoteCommit, 2},
		{"rolled back, all listing", false, dtc.VoteAbort, 0},
		{"rolled back, one plain", true, dtc.VoteAbort, 1},
		{"all read-only, all listing", false, dtc.VoteReadOnly, 0},
		{"all read-only, one plain", true, dtc.VoteReadOnly, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := services("a", "b")
				list[1].Plain = tt.plain
				for _, p := range list {
					p.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return tt.vote, nil }
				}
				disk := vfs.NewMem()
				c := open(t, disk, &dtc.Config{Participants: participants(list)})
				synctest.Wait()
				before := disk.Syncs()
				ok, err := c.Execute(t.Context(), "t", branches("a", "b")...)
				if ok != (tt.vote != dtc.VoteAbort) {
					t.Fatal(ok, err)
				}
				synctest.Wait() // what was appended is written, but not forced
				if got := disk.Syncs() - before; got != tt.want {
					t.Errorf("%d forced writes, want %d", got, tt.want)
				}
				closed(t, c)
			})
		})
	}
}

// TestIdempotentFinish: commit and rollback that are delivered three times have
// the effect of once.
func TestIdempotentFinish(t *testing.T) {
	for _, vote := range []dtc.Vote{dtc.VoteCommit, dtc.VoteAbort} {
		t.Run(vote.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := services("a", "b")
				effects := 0
				list[0].OnCommit = func(context.Context, dtc.Branch) error { effects++; return nil }
				list[0].OnRollback = func(context.Context, dtc.Branch) error { effects++; return nil }
				list[1].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
					time.Sleep(time.Millisecond) // a has prepared by then
					return vote, nil
				}
				calls := 0
				thrice := func(f func(context.Context, dtc.Branch) error) func(context.Context, dtc.Branch) error {
					return func(ctx context.Context, b dtc.Branch) error {
						calls++
						if err := f(ctx, b); err != nil || calls < 3 {
							return errors.Join(err, errors.New("the answer is lost"))
						}
						return nil
					}
				}
				a := dtc.ParticipantFuncs{
					ParticipantID: "a", PrepareFunc: list[0].Prepare, InDoubtFunc: list[0].InDoubt,
					CommitFunc: thrice(list[0].Commit), RollbackFunc: thrice(list[0].Rollback),
				}
				c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a, list[1]}})
				if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); ok != (vote == dtc.VoteCommit) {
					t.Fatal(ok, err)
				}
				settle(t, c)
				closed(t, c)
				if calls != 3 || effects != 1 {
					t.Errorf("%d deliveries had the effect of %d", calls, effects)
				}
			})
		})
	}
}

func TestReadOnlyIsOutAfterPhaseOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("reports", "orders")
		list[0].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteReadOnly, nil }
		var rec recorder
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), Trace: rec.trace()})
		if ok, err := c.Execute(t.Context(), "t", branches("reports", "orders")...); !ok {
			t.Fatal(err)
		}
		closed(t, c)
		if rec.count("commit reports") != 0 || rec.count("commit orders") != 1 {
			t.Errorf("steps: %q", rec.all())
		}
	})
}

// TestUndeclaredVoteAborts: the zero vote is vote_abort, and an error in any vote
// never commits.
func TestUndeclaredVoteAborts(t *testing.T) {
	var none dtc.Vote
	for _, tt := range []struct {
		name string
		vote dtc.Vote
		err  error
		code dtc.Code
	}{
		{"forgot to vote", none, nil, dtc.ReasonVoteAbort},
		{"an error", none, errors.New("no"), dtc.ReasonVoteAbort},
		{"yes with an error", dtc.VoteCommit, errors.New("well"), dtc.ReasonParticipantError},
		{"a vote that does not exist", 99, nil, dtc.ReasonParticipantError},
		{"a failure that calls itself one", dtc.VoteAbort, dtc.Fault(errors.New("well")), dtc.ReasonParticipantError},
		{"one without a reason", dtc.VoteAbort, dtc.Fault(nil), dtc.ReasonParticipantError},
		{"a nil that panics", dtc.VoteAbort, (*dtc.RollbackError)(nil), dtc.ReasonParticipantError},
		{"a nil that panics later", dtc.VoteAbort, (*net.OpError)(nil), dtc.ReasonParticipantError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{voting("a", tt.vote, tt.err)}})
				defer closed(t, c)
				ok, err := c.Execute(t.Context(), "t", branches("a")...)
				var rolled *dtc.RollbackError
				if ok || !errors.As(err, &rolled) || rolled.Reason.Code != tt.code {
					t.Errorf("got %v, %v; want rolled back with %v", ok, err, tt.code)
				}
			})
		})
	}
}
