package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// lister gives a participant a listing that can be held up, after it was taken.
type lister struct {
	*dtctest.Memory
	hold func()
}

func (l lister) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	list, err := l.Memory.InDoubt(ctx, log)
	if len(list) > 0 && l.hold != nil {
		l.hold()
	}
	return list, err
}

// TestSweepBesideCommit: a branch is listed, and its transaction commits and is
// forgotten before the sweep looks. That is no orphan and no cause for alarm, not
// even when the outcome is not remembered any more.
func TestSweepBesideCommit(t *testing.T) {
	for _, limit := range []int{0, 1} {
		t.Run(fmt.Sprint("OutcomeLimit=", limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := services("a")
				prepared, listed, looked := make(chan bool), make(chan bool), make(chan bool)
				once := sync.OnceFunc(func() { close(listed); <-looked })
				slow := dtc.ParticipantFuncs{
					ParticipantID: "a", CommitFunc: list[0].Commit, RollbackFunc: list[0].Rollback,
					PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
						v, err := list[0].Prepare(ctx, b)
						if b.TxID == "t" {
							<-prepared
						}
						return v, err
					},
					InDoubtFunc: lister{list[0], once}.InDoubt,
				}
				var lines strings.Builder
				c := open(t, vfs.NewMem(), &dtc.Config{
					Participants: []dtc.Participant{slow}, OutcomeLimit: limit, SweepInterval: time.Second,
					Logger: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelInfo})),
					Timing: dtc.Timing{PrepareAttempt: time.Minute, PrepareTimeout: time.Minute},
				})
				go func() {
					<-listed
					close(prepared)
				}()
				if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
					t.Fatal(err)
				}
				for _, id := range []dtc.TxID{"u", "v"} { // push it out of a short memory
					if ok, err := c.Execute(t.Context(), id, branches("a")...); !ok {
						t.Fatal(err)
					}
				}
				close(looked)
				time.Sleep(time.Minute)
				s := c.Stats()
				closed(t, c)
				if s.Hazards != 0 || s.Unfinished != 0 || lines.Len() != 0 {
					t.Errorf("%+v, and the log says %s", s, lines.String())
				}
			})
		})
	}
}

// TestSweepOfSisters: a prepare record that was lost named two participants. Each
// sweep finds its own branch, and low water passes neither before it is gone.
func TestSweepOfSisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		log := c.ID()
		closed(t, c)
		x := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, list[0], disk), Seq: 7}
		for _, p := range list {
			if _, err := p.Prepare(t.Context(), dtc.Branch{Participant: p.ID(), XID: x, TxID: "lost"}); err != nil {
				t.Fatal(err)
			}
		}
		slowRollback := func(context.Context, dtc.Branch) error { time.Sleep(time.Second); return nil }
		list[0].OnRollback, list[1].OnRollback = slowRollback, slowRollback
		var lows []dtc.XID
		list[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			lows = append(lows, b.LowWater)
			return dtc.VoteCommit, nil
		}
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{
			list[0], lister{list[1], func() { time.Sleep(50 * time.Millisecond) }},
		}})
		time.Sleep(500 * time.Millisecond)
		if ok, err := c.Execute(t.Context(), "t", branches("b")...); !ok {
			t.Fatal(err)
		}
		if len(lows) != 1 || lows[0].Compare(x) > 0 {
			t.Errorf("low water at b is %v, above %v which it holds", lows, x)
		}
		time.Sleep(5 * time.Second) // far less than the next sweep
		closed(t, c)
		for _, p := range list {
			if p.State(x) != dtctest.RolledBack {
				t.Errorf("the orphan at %s is %q", p.ID(), p.State(x))
			}
		}
	})
}

// TestListedTwice: a branch that stands in a listing twice is rolled back once.
func TestListedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, disk := services("a")[0], vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{a}})
		log := c.ID()
		closed(t, c)
		orphan := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, a, disk), Seq: 7}
		if _, err := a.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: orphan, TxID: "lost"}); err != nil {
			t.Fatal(err)
		}
		var out, calls atomic.Int32
		twice := dtc.ParticipantFuncs{
			ParticipantID: "a", PrepareFunc: a.Prepare,
			RollbackFunc: func(ctx context.Context, b dtc.Branch) error {
				calls.Add(1)
				if out.Add(1) > 1 {
					t.Error("two calls of one branch are out at a time")
				}
				defer out.Add(-1)
				time.Sleep(time.Second)
				return a.Rollback(ctx, b)
			},
			InDoubtFunc: func(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
				l, err := a.InDoubt(ctx, log)
				return append(l, l...), err
			},
		}
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{twice}})
		time.Sleep(time.Minute / 2)
		if n := calls.Load(); n != 1 {
			t.Errorf("%d rollbacks", n)
		}
		closed(t, c)
	})
}

// TestResolveASister: both branches of a lost transaction were committed by hand. Each can
// be acknowledged, in any order, under the one XID, and is called again under it.
func TestResolveASister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list, disk := services("a", "b"), vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		log := c.ID()
		closed(t, c)
		x := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, list[0], disk), Seq: 7}
		var known atomic.Bool
		for _, p := range list {
			if _, err := p.Prepare(t.Context(), dtc.Branch{Participant: p.ID(), XID: x, TxID: "lost"}); err != nil {
				t.Fatal(err)
			}
			p.OnRollback = func(context.Context, dtc.Branch) error {
				if known.Load() {
					return &dtc.FinishedError{Outcome: dtc.Committed}
				}
				return errors.New("not now")
			}
		}
		c = open(t, disk, &dtc.Config{Participants: participants(list)})
		time.Sleep(time.Hour)
		known.Store(true)
		if err := c.Retry(t.Context(), dtc.TxID(x.String())); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, p := range []string{"b", "a"} {
			if err := c.Resolve(t.Context(), dtc.TxID(x.String()), p, dtc.Committed, "it was"); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
		if n := c.Stats(); n.Unfinished != 0 || n.Hazards != 2 {
			t.Errorf("%+v", n)
		}
		closed(t, c)
	})
}
