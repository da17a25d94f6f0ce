package dtc_test

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// byState counts the transactions the long way.
func byState(c *dtc.Coordinator) map[string]int {
	n := map[string]int{"active": 0, "preparing": 0, "committing": 0, "rolling_back": 0}
	for info := range c.Transactions(dtc.Filter{}) {
		n[info.State]++
	}
	return n
}

func states(active, preparing, committing, rollingBack int) map[string]int {
	return map[string]int{"active": active, "preparing": preparing, "committing": committing, "rolling_back": rollingBack}
}

// leaving is a participant that may finish nothing for a while.
type leaving struct {
	*dtctest.Memory
	away atomic.Bool
}

func (l *leaving) Commit(ctx context.Context, b dtc.Branch) error {
	if l.away.Load() {
		return dtc.NoAnswer(errors.New("away"))
	}
	return l.Memory.Commit(ctx, b)
}

func (l *leaving) Rollback(ctx context.Context, b dtc.Branch) error {
	if l.away.Load() {
		return dtc.NoAnswer(errors.New("away"))
	}
	return l.Memory.Rollback(ctx, b)
}

// TestActiveByState has transactions in every state, also of an earlier process, and
// counts them.
func TestActiveByState(t *testing.T) {
	for _, inline := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { activeByState(t, inline) })
	}
}

func activeByState(t *testing.T, inline bool) {
	mem := &leaving{Memory: dtctest.NewMemory("a")}
	mem.NeverBlocks = inline
	mute := dtctest.NewMemory("mute")
	hear := make(chan bool)
	mute.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { <-hear; return dtc.VoteAbort, nil }
	no := dtctest.NewMemory("no")
	no.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
		time.Sleep(time.Second) // so that the others are prepared
		return dtc.VoteAbort, nil
	}
	disk := vfs.NewMem()
	cfg := &dtc.Config{
		Participants: []dtc.Participant{mem, mute, no}, CompletionWait: -1,
		Timing: dtc.Timing{PrepareTimeout: time.Hour, PrepareAttempt: time.Hour},
	}
	c := open(t, disk, cfg)
	expect := func(when string, want map[string]int) {
		t.Helper()
		synctest.Wait()
		if got := c.ActiveByState(); !maps.Equal(got, want) || !maps.Equal(byState(c), want) {
			t.Errorf("%s: %v, and counted %v; want %v", when, got, byState(c), want)
		}
	}
	expect("at first", states(0, 0, 0, 0))
	for _, id := range []dtc.TxID{"c1", "c2"} {
		if ok, err := c.Execute(t.Context(), id, branches("a")...); !ok {
			t.Fatal(err)
		}
	}
	_, _ = c.Execute(t.Context(), "r1", branches("a", "no")...)
	expect("all of them over", states(0, 0, 0, 0))
	mem.away.Store(true)
	for _, id := range []dtc.TxID{"c3", "c4", "c5"} {
		if ok, err := c.Execute(t.Context(), id, branches("a")...); !ok {
			t.Fatal(err)
		}
	}
	_, _ = c.Execute(t.Context(), "r2", branches("a", "no")...)
	_, _ = c.Execute(t.Context(), "r3", branches("a", "no")...)
	go func() { _, _ = c.Execute(t.Context(), "p1", branches("mute")...) }()
	if _, _, err := c.Begin("g1", &dtc.TxOptions{Lifetime: time.Hour}); err != nil {
		t.Fatal(err)
	}
	expect("in every state", states(1, 1, 3, 2))

	killed := disk.Kill() // without what only grows, and what was not forced
	hear <- true
	_, _ = c.Rollback(t.Context(), "g1", nil)
	expect("two are over", states(0, 0, 3, 2))
	mem.away.Store(false)
	settle(t, c)
	expect("all are over", states(0, 0, 0, 0))
	closed(t, c)

	mem.away.Store(true)
	disk = killed
	c = open(t, disk, cfg)
	synctest.Wait()
	got, long := c.ActiveByState(), byState(c)
	if !maps.Equal(got, long) || got["committing"] != 3 || got["rolling_back"] != 2 {
		t.Errorf("recovered: %v, and counted %v", got, long)
	}
	mem.away.Store(false)
	settle(t, c)
	expect("recovered, and over", states(0, 0, 0, 0))
	closed(t, c)
}

// TestActiveByStateOfTheRefused: a transaction whose prepare record the log did not
// take was never decided, and is not counted as such.
func TestActiveByStateOfTheRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		plain := dtctest.NewMemory("a")
		plain.Plain = true
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{plain}})
		disk.FailWrite(1, 0, errors.New("no"))
		if _, err := c.Execute(t.Context(), "t", branches("a")...); !errors.Is(err, dtc.ErrLogFailed) && !errors.Is(err, dtc.ErrInDoubt) {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.ActiveByState(); !maps.Equal(got, byState(c)) {
			t.Errorf("%v, and counted %v", got, byState(c))
		}
		_ = c.Close()
	})
}

// TestOrphansAreCounted: as long as a branch that nobody owns is there, and not only
// in the moment in which the sweep finds it.
func TestOrphansAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := &leaving{Memory: dtctest.NewMemory("a")}
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: []dtc.Participant{mem}, SweepInterval: time.Second}
		c := open(t, disk, cfg)
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		info, err := c.Transaction("t")
		if err != nil {
			t.Fatal(err)
		}
		closed(t, c)
		x := info.XID
		x.Seq += 7 // its prepare record was lost with the power
		if _, err := mem.Prepare(t.Context(), dtc.Branch{Participant: "a", TxID: "lost", XID: x}); err != nil {
			t.Fatal(err)
		}
		mem.away.Store(true)
		c = open(t, disk, cfg)
		for range 3 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if p := c.Participants()[0]; p.Orphans != 1 || p.Unfinished != 1 {
				t.Errorf("%+v", p)
			}
			if got := c.ActiveByState(); !maps.Equal(got, states(0, 0, 0, 1)) || !maps.Equal(got, byState(c)) {
				t.Errorf("%v, and counted %v", got, byState(c))
			}
		}
		mem.away.Store(false)
		settle(t, c)
		if p := c.Participants()[0]; p.Orphans != 0 || p.Unfinished != 0 {
			t.Errorf("%+v", p)
		}
		closed(t, c)
	})
}

// TestOrphansUnderAHoldAreCounted: nobody may roll back such a branch, so somebody
// must look.
func TestOrphansUnderAHoldAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := dtctest.NewMemory("a")
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: []dtc.Participant{mem}, SweepInterval: time.Second}
		c := open(t, disk, cfg)
		_, _ = c.Execute(t.Context(), "t", branches("a")...)
		info, err := c.Transaction("t")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Hold(t.Context(), "restored"); err != nil {
			t.Fatal(err)
		}
		closed(t, c)
		x := info.XID
		x.Seq += 7
		if _, err := mem.Prepare(t.Context(), dtc.Branch{Participant: "a", TxID: "lost", XID: x}); err != nil {
			t.Fatal(err)
		}
		c = open(t, disk, cfg)
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := c.Participants()[0]; p.Orphans != 1 || p.Unfinished != 0 {
			t.Errorf("held: %+v", p)
		}
		if err := c.Release(t.Context(), "compared"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		settle(t, c)
		if p := c.Participants()[0]; p.Orphans != 0 {
			t.Errorf("released: %+v", p)
		}
		closed(t, c)
	})
}

// TestTraceStarted: a trace can tell how long a transaction took, but for those of an
// earlier process.
func TestTraceStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := &leaving{Memory: dtctest.NewMemory("a")}
		mem.away.Store(true)
		mem.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			time.Sleep(300 * time.Millisecond)
			return dtc.VoteCommit, nil
		}
		var took time.Duration
		recovered := false
		cfg := &dtc.Config{Participants: []dtc.Participant{mem}, CompletionWait: -1, Trace: &dtc.Trace{
			Decided: func(tx dtc.TraceTx, _ dtc.Outcome, _ dtc.Reason) {
				if tx.Started.IsZero() {
					recovered = true
					return
				}
				took = time.Since(tx.Started)
			},
		}}
		disk := vfs.NewMem()
		c := open(t, disk, cfg)
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		if took != 300*time.Millisecond || recovered {
			t.Errorf("took %v, recovered %v", took, recovered)
		}
		closed(t, c)
		took = 0
		mem.away.Store(false)
		c = open(t, disk, cfg)
		settle(t, c)
		if !recovered || took != 0 {
			t.Errorf("took %v, recovered %v", took, recovered)
		}
		closed(t, c)
	})
}
