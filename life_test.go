package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestSameID: an id that runs is joined, one that has ended gives its outcome,
// and with other branches it is a conflict. Nothing is run twice.
func TestSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		list[0].OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			time.Sleep(100 * time.Millisecond)
			return dtc.VoteCommit, nil
		}
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: participants(list)}
		c := open(t, disk, cfg)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := c.Execute(t.Context(), "t", branches("a")...); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("other branches while it runs: %v", err)
		}
		wg.Wait()
		settle(t, c)
		if ok, _ := c.Execute(t.Context(), "t", branches("b", "a")...); !ok {
			t.Error("the order of branches is no difference")
		}
		spaced := branches("a", "b")
		spaced[0].Payload = []byte(" {\n\t\"for\" : \"a\"\n}")
		if ok, err := c.Execute(t.Context(), "t", spaced...); !ok {
			t.Errorf("white space in JSON is no difference: %v", err)
		}
		if _, err := c.Execute(t.Context(), "t", branches("b")...); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("other branches afterwards: %v", err)
		}
		if err := c.Run(t.Context(), "t", func(context.Context, *dtc.Tx) error { return nil }); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("Run of an id that was executed: %v", err)
		}
		if n := list[0].Counts().Prepared; n != 1 {
			t.Errorf("it ran %d times", n)
		}
		closed(t, c)
		c = open(t, disk, cfg)
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok || list[0].Counts().Prepared != 1 {
			t.Errorf("after a restart: %v, ran %d times", err, list[0].Counts().Prepared)
		}
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Committed {
			t.Errorf("the outcome is %v, %v", o, err)
		}
		if _, err := c.Outcome(t.Context(), "never"); !errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("an id never heard of: %v", err)
		}
		closed(t, c)
	})
}

func TestRunGrowsAndCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list)})
		err := c.Run(t.Context(), "grown", func(_ context.Context, tx *dtc.Tx) error {
			if tx.ID() != "grown" || tx.XID().IsZero() {
				t.Error("the transaction has no name")
			}
			return errors.Join(tx.Enlist("a", nil), tx.Enlist("b", nil), tx.Enlist("a", nil))
		})
		if err != nil || list[0].Counts().Committed != 1 || list[1].Counts().Committed != 1 {
			t.Fatalf("%v, %+v", err, list[0].Counts())
		}
		if err := c.Run(t.Context(), "empty", func(context.Context, *dtc.Tx) error { return nil }); err != nil {
			t.Errorf("nothing enlisted, nothing to do: %v", err)
		}
		sorry := errors.New("sorry")
		var kept *dtc.Tx
		err = c.Run(t.Context(), "fails", func(_ context.Context, tx *dtc.Tx) error {
			kept = tx
			return errors.Join(tx.Enlist("a", nil), sorry)
		})
		if !errors.Is(err, dtc.ErrRolledBack) || !errors.Is(err, sorry) {
			t.Errorf("got %v", err)
		}
		settle(t, c)
		if list[0].State(kept.XID()) != dtctest.RolledBack {
			t.Error("a did not hear of the rollback")
		}
		if err := kept.Enlist("b", nil); !errors.Is(err, dtc.ErrRolledBack) {
			t.Errorf("Enlist afterwards: %v", err)
		}
		func() {
			defer func() {
				if recover() != "oh no" {
					t.Error("the panic was swallowed")
				}
			}()
			_ = c.Run(t.Context(), "panics", func(_ context.Context, tx *dtc.Tx) error {
				_ = tx.Enlist("a", nil)
				panic("oh no")
			})
		}()
		err = c.RunWith(t.Context(), "late", &dtc.TxOptions{Lifetime: time.Second}, func(ctx context.Context, tx *dtc.Tx) error {
			_ = tx.Enlist("a", nil)
			<-ctx.Done()
			return nil
		})
		var rolled *dtc.RollbackError
		if !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonDeadline {
			t.Errorf("past its lifetime: %v", err)
		}
		settle(t, c)
		closed(t, c)
	})
}

// TestCancel: a caller that goes away before the decision aborts; afterwards the
// transaction goes on.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "slow")
		list[1].OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			select {
			case <-time.After(500 * time.Millisecond):
				return dtc.VoteCommit, nil
			case <-ctx.Done():
				return dtc.VoteAbort, ctx.Err()
			}
		}
		slowCommit := func(context.Context, dtc.Branch) error { time.Sleep(500 * time.Millisecond); return nil }
		list[0].OnCommit = slowCommit
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list)})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := c.Execute(ctx, "early", branches("a", "slow")...)
		cancel()
		var rolled *dtc.RollbackError
		if !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonDeadline || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 700*time.Millisecond)
		began := time.Now()
		ok, err := c.Execute(ctx, "late", branches("a", "slow")...)
		cancel()
		if !ok || time.Since(began) != 700*time.Millisecond {
			t.Errorf("after %v: %v, %v", time.Since(began), ok, err)
		}
		settle(t, c)
		closed(t, c)
		if list[0].Counts().Committed != 1 || len(list[0].Prepared()) != 0 {
			t.Errorf("%+v", list[0].Counts())
		}
	})
}

// TestSweepRollsBackOrphans: a prepare record that was lost with the power leaves
// a branch that only its participant knows. The sweep finds it, and touches
// nothing else.
func TestSweepRollsBackOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a")
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list)})
		log := c.ID()
		closed(t, c)
		ours := dtc.XID{Log: log, Incarnation: onlyIncarnation(t, list[0], disk), Seq: 7}
		foreign := dtc.XID{Log: dtc.LogID{1}, Incarnation: ours.Incarnation, Seq: 1}
		for _, x := range []dtc.XID{ours, foreign} {
			if _, err := list[0].Prepare(t.Context(), dtc.Branch{Participant: "a", XID: x, TxID: "lost"}); err != nil {
				t.Fatal(err)
			}
		}
		c = open(t, disk, &dtc.Config{Participants: participants(list), SweepInterval: time.Second})
		time.Sleep(10 * time.Second)
		if list[0].State(ours) != dtctest.RolledBack {
			t.Errorf("the orphan is %q", list[0].State(ours))
		}
		if list[0].State(foreign) != dtctest.Prepared {
			t.Error("the sweep touched what is not ours")
		}
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		closed(t, c)
	})
}

// onlyIncarnation learns the incarnation of a log from the XID of a transaction.
func onlyIncarnation(t *testing.T, p *dtctest.Memory, disk *vfs.Mem) (i dtc.Incarnation) {
	t.Helper()
	c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{p}})
	defer closed(t, c)
	_ = c.Run(t.Context(), "probe", func(_ context.Context, tx *dtc.Tx) error {
		i = tx.XID().Incarnation
		return errors.New("enough")
	})
	return i
}

// TestLowWaterRises: it names the oldest unfinished transaction at a participant,
// and a dead neighbour does not hold it back.
func TestLowWaterRises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "dead")
		var back atomic.Bool
		list[1].OnCommit = func(context.Context, dtc.Branch) error {
			if back.Load() {
				return nil
			}
			return errors.New("gone")
		}
		var mu sync.Mutex
		lows := map[dtc.TxID]dtc.XID{}
		xids := map[dtc.TxID]dtc.XID{}
		list[0].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			mu.Lock()
			defer mu.Unlock()
			lows[b.TxID], xids[b.TxID] = b.LowWater, b.XID
			return dtc.VoteCommit, nil
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), CompletionWait: -1})
		synctest.Wait() // swept
		for i := range 5 {
			id := dtc.TxID(fmt.Sprint("t", i))
			if ok, err := c.Execute(t.Context(), id, branches("a", "dead")...); !ok {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if lows["t4"] != xids["t4"] {
			t.Errorf("low water at a is %v, want %v: it is held back", lows["t4"], xids["t4"])
		}
		back.Store(true)
		settle(t, c)
		closed(t, c)
	})
}

// TestHeuristic: a participant that finished against the decision is shown, kept
// over a restart, and ends when an operator has resolved it.
func TestHeuristic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a")
		traitor := dtc.ParticipantFuncs{
			ParticipantID: "traitor", InDoubtFunc: listsNothing,
			PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
			CommitFunc: func(context.Context, dtc.Branch) error {
				return &dtc.FinishedError{Outcome: dtc.RolledBack}
			},
		}
		cfg := &dtc.Config{Participants: []dtc.Participant{list[0], traitor}}
		disk := vfs.NewMem()
		c := open(t, disk, cfg)
		ok, err := c.Execute(t.Context(), "t", branches("a", "traitor")...)
		var heuristic *dtc.HeuristicError
		if ok || !errors.As(err, &heuristic) || !slices.Equal(heuristic.Participants, []string{"traitor"}) {
			t.Fatalf("got %v, %v", ok, err)
		}
		closed(t, c)
		c = open(t, disk, cfg)
		time.Sleep(time.Minute)
		if c.Stats().Unfinished != 1 {
			t.Fatal("it was forgotten before anybody saw it")
		}
		if err := c.Resolve(t.Context(), "t", "traitor", dtc.RolledBack, ""); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("no reason given: %v", err)
		}
		if err := c.Resolve(t.Context(), "t", "traitor", dtc.RolledBack, "seen by hand"); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		closed(t, c)
		c = open(t, disk, cfg)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Heuristic {
			t.Errorf("the outcome is %v, %v", o, err)
		}
		closed(t, c)
	})
}

// TestUnregisteredParticipant: what recovery finds for a participant that is not
// there yet waits, is shown, and is finished when it comes.
func TestUnregisteredParticipant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		list[1].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("later") }
		disk := vfs.NewMem()
		c := open(t, disk, &dtc.Config{Participants: participants(list), CompletionWait: -1})
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		closed(t, c)
		list[1].OnCommit = nil
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{list[0]}})
		time.Sleep(time.Hour)
		shown := 0
		for info := range c.Transactions(dtc.Filter{Participant: "b"}) {
			shown++
			if info.TxID != "t" || info.State != "committing" || info.Branches[1].Registered {
				t.Errorf("shown as %+v", info)
			}
		}
		if shown != 1 {
			t.Fatalf("%d transactions are shown", shown)
		}
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Errorf("what is known of the id is told though b is not there: %v", err)
		}
		if _, err := c.Execute(t.Context(), "new", branches("a", "b")...); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("a new one: %v", err)
		}
		if err := c.Register(list[1]); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		closed(t, c)
		if list[1].Counts().Committed != 1 {
			t.Error("b was not committed")
		}
	})
}

// TestLogFailure: when the sync of a decision fails nobody here can know. The
// caller is told so, nothing more is begun, and the next open reads the truth.
func TestLogFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b")
		disk := vfs.NewMem()
		cfg := &dtc.Config{Participants: participants(list)}
		c := open(t, disk, cfg)
		if ok, err := c.Execute(t.Context(), "before", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		settle(t, c)
		disk.FailSync(1)
		if _, err := c.Execute(t.Context(), "t", branches("a", "b")...); !errors.Is(err, dtc.ErrInDoubt) {
			t.Fatalf("got %v, want in doubt", err)
		}
		if _, err := c.Execute(t.Context(), "u", branches("a", "b")...); !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("a new one: %v", err)
		}
		if _, err := c.Execute(t.Context(), "t", branches("a", "b")...); !errors.Is(err, dtc.ErrInDoubt) && !errors.Is(err, dtc.ErrLogFailed) {
			t.Errorf("the same again: %v", err)
		}
		if o, err := c.Outcome(t.Context(), "before"); o != dtc.Committed {
			t.Errorf("what was durable may still be told: %v, %v", o, err)
		}
		if ok, err := c.Execute(t.Context(), "before", branches("a", "b")...); !ok {
			t.Errorf("what was durable may still be told: %v", err)
		}
		time.Sleep(time.Minute)
		if n := len(list[0].Prepared()); n != 1 {
			t.Errorf("%d branches in doubt at a, want the one nobody may decide", n)
		}
		if err := c.Close(); err == nil {
			t.Error("Close says nothing of the failed log")
		}
		c = open(t, disk.CrashWith(func(int, int) int { return 0 }), cfg)
		settle(t, c)
		time.Sleep(time.Minute)
		closed(t, c)
		if len(list[0].Prepared())+len(list[1].Prepared()) != 0 || list[0].Counts().Committed != list[1].Counts().Committed {
			t.Errorf("%+v %+v", list[0].Counts(), list[1].Counts())
		}
	})
}

// TestCloseLeavesNothing: whatever is going on, Close ends every goroutine (the
// bubble fails if one is left) and the next Open finishes the rest.
func TestCloseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "b", "slow")
		list[2].OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			select {
			case <-time.After(2 * time.Second):
				return dtc.VoteCommit, nil
			case <-ctx.Done():
				return dtc.VoteAbort, ctx.Err()
			}
		}
		var down sync.Map
		list[1].OnCommit = func(context.Context, dtc.Branch) error {
			if _, up := down.Load("up"); up {
				return nil
			}
			return errors.New("down")
		}
		cfg := &dtc.Config{Participants: participants(list), CompletionWait: -1, Timing: dtc.Timing{PrepareAttempt: 3 * time.Second}}
		disk := vfs.NewMem()
		c := open(t, disk, cfg)
		for i := range 20 { // wait for b
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("a", "b")...); !ok {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		outcomes := map[string]error{}
		var mu sync.Mutex
		note := func(k string, err error) { mu.Lock(); outcomes[k] = err; mu.Unlock() }
		wg.Go(func() { // in phase one
			_, err := c.Execute(t.Context(), "preparing", branches("a", "slow")...)
			note("preparing", err)
		})
		wg.Go(func() { // growing
			note("growing", c.Run(t.Context(), "growing", func(ctx context.Context, tx *dtc.Tx) error {
				_ = tx.Enlist("a", nil)
				time.Sleep(5 * time.Second)
				return nil
			}))
		})
		time.Sleep(time.Second)
		closed(t, c)
		wg.Wait()
		if outcomes["preparing"] != nil {
			t.Errorf("what Execute had started was not decided: %v", outcomes["preparing"])
		}
		var rolled *dtc.RollbackError
		if !errors.As(outcomes["growing"], &rolled) || rolled.Reason.Code != dtc.ReasonShuttingDown {
			t.Errorf("what was growing: %v", outcomes["growing"])
		}
		down.Store("up", true)
		c = open(t, disk, cfg)
		settle(t, c)
		time.Sleep(2 * time.Minute)
		closed(t, c)
		if n := list[1].Counts().Committed; n != 20 {
			t.Errorf("b committed %d", n)
		}
		for _, p := range list {
			if len(p.Prepared()) != 0 {
				t.Errorf("%s holds %d", p.ID(), len(p.Prepared()))
			}
		}
	})
}

// TestFull: a participant that is down does not fill the table for the others.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := services("a", "dead")
		list[1].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("down") }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list), CompletionWait: -1, MaxTransactions: 10})
		var err error
		n := 0
		for ; err == nil; n++ {
			_, err = c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", n)), branches("dead")...)
		}
		if !errors.Is(err, dtc.ErrFull) || n != 6 {
			t.Errorf("after %d: %v", n, err)
		}
		if ok, err := c.Execute(t.Context(), "other", branches("a")...); !ok {
			t.Errorf("the others cannot work: %v", err)
		}
		closed(t, c)
	})
}
