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
	"github.com/dtc-project/dtc/internal/vfs"
)

// gate is a handler that waits where a message begins in a given way.
type gate struct {
	slog.Handler
	at      string
	armed   atomic.Bool
	reached chan struct{}
	open    chan struct{}
}

func newGate(at string) *gate {
	return &gate{Handler: slog.DiscardHandler, at: at, reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) Enabled(context.Context, slog.Level) bool { return true }

func (g *gate) Handle(_ context.Context, r slog.Record) error {
	if g.armed.Load() && strings.HasPrefix(r.Message, g.at) {
		select {
		case g.reached <- struct{}{}:
			<-g.open
		case <-g.open:
		}
	}
	return nil
}

func (g *gate) WithAttrs([]slog.Attr) slog.Handler { return g }
func (g *gate) WithGroup(string) slog.Handler      { return g }

// TestReleaseBesideAHold: a hold counts, and is not in the log yet, when an operator
// releases an earlier one, or this one. Nobody has looked at its evidence: it stays, and
// the log says the same after a restart.
func TestReleaseBesideAHold(t *testing.T) {
	for _, earlier := range []bool{false, true} {
		t.Run(fmt.Sprint("Earlier=", earlier), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, g := vfs.NewMem(), newGate("the log may not be the whole truth")
				list := services("a")
				if earlier {
					c := open(t, disk, &dtc.Config{Participants: participants(list)})
					if err := c.Hold(t.Context(), "the first"); err != nil {
						t.Fatal(err)
					}
					closed(t, c)
				}
				c := open(t, disk, &dtc.Config{Participants: participants(list), Logger: slog.New(g)})
				g.armed.Store(true)
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := c.Hold(t.Context(), "the second"); err != nil {
						t.Error(err)
					}
				})
				<-g.reached
				wg.Go(func() {
					if err := c.Release(t.Context(), "of the first"); !errors.Is(err, dtc.ErrBadRequest) {
						t.Error(err)
					}
				})
				synctest.Wait()
				close(g.open)
				wg.Wait()
				_, before := c.Held()
				closed(t, c)
				c = open(t, disk, &dtc.Config{Participants: participants(list)})
				if _, after := c.Held(); after != before {
					t.Errorf("held: %v, and after a restart %v", before, after)
				}
				closed(t, c)
			})
		})
	}
}

// TestListingOlderThanAHold: a listing was taken when a hold began. It proves nothing for
// low water, not after the release either.
func TestListingOlderThanAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := services("a")[0]
		listed := make(chan struct{})
		first := true
		var low dtc.XID
		p := dtc.ParticipantFuncs{
			ParticipantID: "a",
			PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
				low = b.LowWater
				return a.Prepare(ctx, b)
			},
			CommitFunc: a.Commit, RollbackFunc: a.Rollback,
			InDoubtFunc: func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) {
				if !first {
					return nil, errors.New("not now")
				}
				first = false
				<-listed
				return nil, nil
			},
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}})
		synctest.Wait()
		if err := c.Hold(t.Context(), "it was restored"); err != nil {
			t.Fatal(err)
		}
		close(listed)
		synctest.Wait()
		if err := c.Release(t.Context(), "looked at it"); err != nil {
			t.Fatal(err)
		}
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		if !low.IsZero() {
			t.Errorf("low water is %v, and nothing was listed since the hold began", low)
		}
		closed(t, c)
	})
}

// TestNothingWaitsForTheLogger: a sweep has found a branch to look at, and the logger is slow
// to take that down. No transaction waits for it.
func TestNothingWaitsForTheLogger(t *testing.T) {
	a, disk := services("a")[0], vfs.NewMem()
	c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{a}})
	log := c.ID()
	closed(t, c)
	orphan := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, a, disk), Seq: 7}
	g := newGate("a participant holds a branch in doubt")
	c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{a}, Logger: slog.New(g), SweepInterval: time.Millisecond})
	if err := c.Hold(t.Context(), "it was restored"); err != nil {
		t.Fatal(err)
	}
	g.armed.Store(true)
	if _, err := a.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: orphan, TxID: "lost"}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	done := make(chan struct{})
	go func() { c.Stats(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the coordinator stands still while its logger is slow")
	}
	close(g.open)
	<-done
	closed(t, c)
}
