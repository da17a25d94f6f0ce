package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestPoisonBranchWaits: a branch that fails while its participant serves others waits out its own back-off.
func TestPoisonBranchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		p := fn("a")
		p.CommitFunc = func(_ context.Context, b dtc.Branch) error {
			if b.TxID[0] == 'p' {
				tries.Add(1)
				return errors.New("poison")
			}
			return nil
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}, CompletionWait: -1})
		for i := range 20 {
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("p", i)), branches("a")...); !ok {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		before := tries.Load()
		time.Sleep(time.Minute)
		quietMinute := tries.Load() - before
		before = tries.Load()
		for i := range 6000 { // a minute of 100/s
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("a")...); !ok {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if busy := tries.Load() - before; busy > 2*quietMinute+100 {
			t.Errorf("20 branches: %d attempts in a quiet minute, %d in a busy one", quietMinute, busy)
		}
		closed(t, c)
	})
}

// TestFailingPreparesDelayNoCommit: prepares that get no answer do not put off the commits of others.
func TestFailingPreparesDelayNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fn("a")
		var flood atomic.Bool
		p.PrepareFunc = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			if flood.Load() && b.TxID[0] == 'f' {
				return 0, dtc.NoAnswer(errors.New("prepare is overloaded"))
			}
			return dtc.VoteCommit, nil
		}
		var worst, sum time.Duration
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}, CompletionWait: time.Hour})
		flood.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 20 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					_, _ = c.Execute(ctx, dtc.TxID(fmt.Sprint("f", w, ".", i)), branches("a")...)
				}
			})
		}
		time.Sleep(5 * time.Second)
		const n = 30
		for i := range n {
			began := time.Now()
			if ok, err := c.Execute(ctx, dtc.TxID(fmt.Sprint("g", i)), branches("a")...); !ok {
				t.Fatal(err)
			}
			d := time.Since(began)
			sum += d
			worst = max(worst, d)
		}
		if worst > 2*time.Second {
			t.Errorf("commits took %v on average, %v at worst", sum/n, worst)
		}
		cancel()
		wg.Wait()
		closed(t, c)
	})
}

// TestHangingCommitsStarveNoPrepare: a participant whose commits hang, and outlive their contexts, still gets prepares.
func TestHangingCommitsStarveNoPrepare(t *testing.T) {
	for _, concurrency := range []int{2, 3, 8, 64} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var out atomic.Int64
			p := fn("a")
			p.CommitFunc = func(context.Context, dtc.Branch) error {
				out.Add(1)
				defer out.Add(-1)
				<-release
				return nil
			}
			c := open(t, vfs.NewMem(), &dtc.Config{
				Participants: []dtc.Participant{p}, Timing: dtc.Timing{Concurrency: concurrency}, CompletionWait: -1,
			})
			began := time.Now()
			for i := range 3 * concurrency {
				if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("a")...); !ok {
					t.Fatalf("of %d calls %d hang: %v", concurrency, out.Load(), err)
				}
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%d prepares took %v", 3*concurrency, took)
			}
			synctest.Wait()
			if want := int64(concurrency * 3 / 4); out.Load() != want {
				t.Errorf("%d commits at a time, want %d of %d calls", out.Load(), want, concurrency)
			}
			close(release)
			settle(t, c)
			closed(t, c)
		})
	}
}

// TestInlineRollbackBehindPrepare: a rollback is queued while the prepare of the same branch still is.
func TestInlineRollbackBehindPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var calls []string
		inl := func(id string, wait time.Duration) dtc.ParticipantFuncs {
			p := fn(id)
			p.NeverBlocks = true
			p.PrepareFunc = func(context.Context, dtc.Branch) (dtc.Vote, error) {
				time.Sleep(wait) // a stall: CPU throttling, a page fault, a pause of the process
				mu.Lock()
				calls = append(calls, "prepare "+id)
				mu.Unlock()
				return dtc.VoteCommit, nil
			}
			p.RollbackFunc = func(context.Context, dtc.Branch) error {
				mu.Lock()
				calls = append(calls, "rollback "+id)
				mu.Unlock()
				return nil
			}
			return p
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{
			inl("x", 300*time.Millisecond), inl("y", 0), voting("b", dtc.VoteAbort, nil),
		}})
		time.Sleep(time.Second)
		_, err := c.Execute(t.Context(), "t", branches("x", "y", "b")...)
		time.Sleep(time.Hour)
		if !errors.Is(err, dtc.ErrRolledBack) {
			t.Error(err, calls)
		}
		for info := range c.Transactions(dtc.Filter{}) {
			t.Errorf("after an hour: %+v", info)
		}
		closed(t, c)
	})
}

// TestLowWaterWaitsForWhatGrows: a growing transaction may enlist anybody, so low water does not pass it.
func TestLowWaterWaitsForWhatGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := services("a")[0]
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}})
		synctest.Wait() // swept
		err := c.Run(t.Context(), "grown", func(ctx context.Context, tx *dtc.Tx) error {
			for i := range 3 { // others work meanwhile
				if ok, err := c.Execute(ctx, dtc.TxID(fmt.Sprint("t", i)), branches("a")...); !ok {
					return err
				}
			}
			return tx.Enlist("a", nil)
		})
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		closed(t, c)
	})
}

type switchable struct {
	*dtctest.Memory
	on *atomic.Bool
}

func (s switchable) Listing() bool { return s.on.Load() }

// TestLowWaterOfNotYetListing: a participant that does not list yet may hold what no log knows.
func TestLowWaterOfNotYetListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := services("a")[0]
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{p}})
		log := c.ID()
		closed(t, c)
		x := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, p, disk), Seq: 7}
		if _, err := p.Prepare(t.Context(), dtc.Branch{Participant: "a", XID: x, TxID: "lost"}); err != nil {
			t.Fatal(err)
		}
		var low dtc.XID
		p.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) { low = b.LowWater; return dtc.VoteCommit, nil }
		var on atomic.Bool
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{switchable{p, &on}}})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		if low.Compare(x) > 0 {
			t.Errorf("low water %v passed %v, which is prepared there (%s) and in no log", low, x, p.State(x))
		}
		closed(t, c)
	})
}

// TestRegisterStartsTheSweep: also when a participant that cannot list was there before.
func TestRegisterStartsTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var swept atomic.Int64
		plain := dtc.ParticipantFuncs{ParticipantID: "a", PrepareFunc: fn("a").PrepareFunc}
		type noList struct{ dtc.Participant }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{noList{plain}}})
		l := fn("a")
		l.InDoubtFunc = func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { swept.Add(1); return nil, nil }
		if err := c.Register(l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if swept.Load() == 0 {
			t.Error("never swept in an hour; and its prepare records are not forced any more")
		}
		closed(t, c)
	})
}

// TestSweepKeepsTheCommitted: a participant lost a commit that it had acknowledged, and its outcome is not remembered any more. That is nothing to be rolled back.
func TestSweepKeepsTheCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var shows []dtc.InDoubtBranch
		var rolled []dtc.XID
		var x dtc.XID
		p := fn("a")
		p.CommitFunc = func(_ context.Context, b dtc.Branch) error {
			mu.Lock()
			defer mu.Unlock()
			if b.TxID == "t" {
				x = b.XID
			}
			return nil
		}
		p.RollbackFunc = func(_ context.Context, b dtc.Branch) error {
			mu.Lock()
			defer mu.Unlock()
			rolled = append(rolled, b.XID)
			shows = nil
			return nil
		}
		p.InDoubtFunc = func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) {
			mu.Lock()
			defer mu.Unlock()
			return shows, nil
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}, OutcomeLimit: 2})
		for _, id := range []dtc.TxID{"t", "u", "v"} {
			if ok, err := c.Execute(t.Context(), id, branches("a")...); !ok {
				t.Fatal(err)
			}
		}
		mu.Lock()
		shows = []dtc.InDoubtBranch{{XID: x}} // it lost its commit: failed over, restored, flushed lazily
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		if len(rolled) > 0 {
			t.Errorf("the sweep rolled back %v, for which the log holds a commit decision", rolled)
		}
		closed(t, c)
	})
}

// TestFinishedBranchesAreNotCounted: those of a transaction that waits for somebody else.
func TestFinishedBranchesAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := fn("dead")
		dead.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("dead") }
		var low dtc.XID
		ro := fn("reader")
		ro.PrepareFunc = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			low = b.LowWater
			return dtc.VoteReadOnly, nil
		}
		cfg := &dtc.Config{Participants: []dtc.Participant{dead, ro}, MaxTransactions: 4, CompletionWait: -1}
		disk := vfs.NewMem()
		c := open(t, disk, cfg)
		for i := range 2 {
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("dead", "reader")...); !ok {
				t.Fatal(err)
			}
		}
		closed(t, c)
		c = open(t, disk, cfg)
		time.Sleep(time.Hour)
		_, err := c.Execute(t.Context(), "u", branches("reader")...)
		if err != nil || low.IsZero() {
			t.Error(err)
		}
		closed(t, c)
	})
}

// TestFullForRun: a dead participant does not fill the table through Run either.
func TestFullForRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := fn("dead")
		dead.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("dead") }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{dead, fn("ok")}, MaxTransactions: 4, CompletionWait: -1})
		for i := range 4 {
			err := c.Run(t.Context(), dtc.TxID(fmt.Sprint("t", i)), func(_ context.Context, tx *dtc.Tx) error { return tx.Enlist("dead", nil) })
			if (err != nil) != (i >= 2) || err != nil && !errors.Is(err, dtc.ErrFull) {
				t.Fatal(i, err)
			}
		}
		if _, err := c.Execute(t.Context(), "u", branches("ok")...); err != nil {
			t.Errorf("a dead participant keeps the others from work: %v", err)
		}
		closed(t, c)
	})
}
