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

// unplugged makes a participant that does not answer commits until it is let.
func unplugged(p *dtctest.Memory) *atomic.Bool {
	down := new(atomic.Bool)
	down.Store(true)
	p.OnCommit = func(context.Context, dtc.Branch) error {
		if down.Load() {
			return dtc.NoAnswer(errors.New("unplugged"))
		}
		return nil
	}
	return down
}

// TestUnregister: a participant that is taken out gets nothing new and no second
// phase; what waits for it is shown, and finished when it is back.
func TestUnregister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		down := unplugged(list[1])
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), CompletionWait: -1})
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := c.Unregister("b"); err != nil {
			t.Fatal(err)
		}
		if err := c.Unregister("b"); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("twice: %v", err)
		}
		if _, err := c.Execute(t.Context(), "new", branches("a", "b")...); !errors.Is(err, dtc.ErrBadRequest) || !strings.Contains(err.Error(), "registered are: a") {
			t.Errorf("a new one: %v", err)
		}
		calls := list[1].Counts().Calls
		time.Sleep(time.Hour)
		if n := list[1].Counts().Calls; n != calls {
			t.Errorf("it was called %d times more", n-calls)
		}
		all := c.Participants()
		if len(all) != 2 || all[1].ID != "b" || all[1].Registered || all[1].Unfinished != 1 || all[1].Oldest.IsZero() || !all[0].Registered || all[0].State != "up" {
			t.Errorf("%+v", all)
		}
		info, err := c.Transaction("t")
		if err != nil || info.State != "committing" || info.Branches[1].Registered {
			t.Errorf("%+v, %v", info, err)
		}
		down.Store(false)
		if err := c.RegisterWith(list[1], dtc.Timing{PrepareTimeout: time.Second}); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		if err := c.Unregister("b"); err != nil {
			t.Fatal(err)
		}
		if all := c.Participants(); len(all) != 1 || all[0].ID != "a" {
			t.Errorf("%+v", all)
		}
		closed(t, c)
		if list[1].Counts().Committed != 1 {
			t.Errorf("%+v", list[1].Counts())
		}
	})
}

// TestUnregisterInPhaseOne: a prepare that has not left any more is a refusal; the
// transaction does not wait for its timeout.
func TestUnregisterInPhaseOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		list[1].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return 0, dtc.NoAnswer(errors.New("down")) }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list)})
		var wg sync.WaitGroup
		began := time.Now()
		wg.Go(func() {
			_, err := c.Execute(t.Context(), "t", branches("a", "b")...)
			var rolledBack *dtc.RollbackError
			if !errors.As(err, &rolledBack) || rolledBack.Reason.Participant != "b" || !strings.Contains(rolledBack.Reason.Message, "left the configuration") {
				t.Errorf("%v", err)
			}
		})
		synctest.Wait()
		if err := c.Unregister("b"); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		closed(t, c)
	})
}

// TestRegisterWith: the timing counts from then on, and only good timing is taken.
func TestRegisterWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := fn("slow")
		slow.PrepareFunc = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) { <-ctx.Done(); return 0, ctx.Err() }
		c := open(t, vfs.NewMem(), &dtc.Config{})
		if err := c.RegisterWith(slow, dtc.Timing{Backoff: -1}); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("%v", err)
		}
		for _, limit := range []time.Duration{time.Second, 17 * time.Second} {
			if err := c.RegisterWith(slow, dtc.Timing{PrepareTimeout: limit}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err := c.Execute(t.Context(), dtc.NewTxID(), branches("slow")...)
			if took := time.Since(began); !errors.Is(err, dtc.ErrRolledBack) || took.Round(time.Second) != limit {
				t.Errorf("after %v: %v", took, err)
			}
		}
		closed(t, c)
	})
}

// TestParticipants: what can be seen of a participant as it goes down and comes back.
func TestParticipants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		list[0].Plain = true
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), CompletionWait: -1})
		synctest.Wait()
		state := func(i int) string { return c.Participants()[i].State }
		if state(0) != "unknown" || state(1) != "up" { // b was swept
			t.Errorf("at first %s, %s", state(0), state(1))
		}
		down := unplugged(list[0])
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if p := c.Participants()[0]; p.State != "down" || p.LastError == "" || p.Unfinished != 1 || p.Listing {
			t.Errorf("%+v", p)
		}
		if p := c.Participants()[1]; p.State != "up" || p.LastError != "" || p.Unfinished != 0 || !p.Listing {
			t.Errorf("%+v", p)
		}
		down.Store(false)
		settle(t, c)
		if p := c.Participants()[0]; p.State != "up" || p.LastError != "" || p.Unfinished != 0 || !p.Oldest.IsZero() {
			t.Errorf("%+v", p)
		}
		closed(t, c)
	})
}

// TestListingLater: a participant that cannot list at first is swept soon after it can.
func TestListingLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a")
		list[0].Plain = true
		swept := 0
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), SweepInterval: time.Hour, Trace: &dtc.Trace{
			Swept: func(string, int, int, error) { swept++ },
		}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if swept != 0 {
			t.Error("a plain participant was swept")
		}
		later := services("a")[0]
		if err := c.Register(later); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if swept != 1 {
			t.Errorf("registered anew, and swept %d times", swept)
		}
		closed(t, c)
	})
}
