package dtc_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestCloseRollsBackWhatGrows: also with a participant that never blocks, and with the caller's values at hand.
func TestCloseRollsBackWhatGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := services("x")[0]
		p.NeverBlocks = true
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}})
		in, out := make(chan bool), make(chan bool)
		ended := make(chan error, 1)
		go func() {
			ended <- c.Run(context.Background(), "t", func(_ context.Context, tx *dtc.Tx) error {
				_ = tx.Enlist("x", nil)
				close(in)
				<-out
				return nil
			})
		}()
		<-in
		time.AfterFunc(time.Second, func() { close(out) })
		closed(t, c)
		var rolled *dtc.RollbackError
		if err := <-ended; !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonShuttingDown {
			t.Errorf("what was growing: %v", err)
		}
	})
}

// TestCloseEndsTheFunctionOfRun: its context ends, so that Close need not wait for its lifetime.
func TestCloseEndsTheFunctionOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{fn("a")}})
		in := make(chan bool)
		go func() {
			_ = c.Run(context.Background(), "t", func(ctx context.Context, _ *dtc.Tx) error { close(in); <-ctx.Done(); return ctx.Err() })
		}()
		<-in
		began := time.Now()
		closed(t, c)
		if d := time.Since(began); d > time.Second {
			t.Errorf("Close took %v: it waits for the lifetime of a transaction it has rolled back", d)
		}
	})
}

// TestSecondCloseWaits: every Close returns when the log is closed, and says the
// same.
func TestSecondCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := fn("a")
		in, out := make(chan bool), make(chan bool)
		a.PrepareFunc = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			close(in)
			<-out
			return dtc.VoteCommit, nil
		}
		a.NeverBlocks = true // its call cannot be given up: Close must wait for it
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{a}})
		synctest.Wait()
		go func() { _, _ = c.Execute(context.Background(), "t", branches("a")...) }()
		<-in
		closes := make(chan error, 2)
		for range cap(closes) {
			go func() { closes <- c.Close() }()
			synctest.Wait()
		}
		if n := len(closes); n != 0 {
			t.Errorf("%d of two calls of Close have returned while a prepare is out", n)
		}
		close(out)
		for range cap(closes) {
			if err := <-closes; err != nil {
				t.Error(err)
			}
			// The log has been let go, whichever call of the two came first.
			c, _, err := tryOpen(disk, &dtc.Config{})
			if err != nil {
				t.Fatalf("Close has returned, and the log is still in use: %v", err)
			}
			closed(t, c)
		}
	})
}

// TestJoinerDoesNotHang: its transaction was recovered, and Close came before its turn.
func TestJoinerDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		dead := fn("a")
		dead.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("dead") }
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{dead}, CompletionWait: -1})
		for _, id := range []dtc.TxID{"t", "u"} {
			if ok, err := c.Execute(t.Context(), id, branches("a")...); !ok {
				t.Fatal(err)
			}
		}
		closed(t, c)
		in, out := make(chan bool), make(chan bool)
		a := fn("a")
		a.NeverBlocks = true
		a.CommitFunc = func(_ context.Context, b dtc.Branch) error {
			if b.TxID == "t" {
				close(in)
				<-out
			}
			return nil
		}
		c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{a}})
		<-in
		joined := make(chan error, 1)
		go func() { _, err := c.Execute(context.Background(), "u", branches("a")...); joined <- err }()
		synctest.Wait() // it has joined, or has its answer
		ended := make(chan error, 1)
		go func() { ended <- c.Close() }()
		synctest.Wait()
		close(out)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		// The bubble fails if it hangs.
		if err := <-joined; !errors.Is(err, dtc.ErrInDoubt) && err != nil {
			t.Error(err)
		}
	})
}

// TestRetentionCountsFromTheEnd: a transaction that waited for hours is remembered when it has ended.
func TestRetentionCountsFromTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		var prepares int
		p := fn("a")
		p.PrepareFunc = func(context.Context, dtc.Branch) (dtc.Vote, error) { prepares++; return dtc.VoteCommit, nil }
		p.CommitFunc = func(context.Context, dtc.Branch) error {
			if !up.Load() {
				return errors.New("down")
			}
			return nil
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		up.Store(true)
		settle(t, c)
		_, _ = c.Execute(t.Context(), "t", branches("a")...)
		if prepares != 1 {
			t.Errorf("the transaction ran %d times", prepares)
		}
		closed(t, c)
	})
}

// TestTypedNilError: it aborts its transaction and nothing else.
func TestTypedNilError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fn("a")
		a.PrepareFunc = func(context.Context, dtc.Branch) (dtc.Vote, error) { var e *typed; return dtc.VoteAbort, e }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a}})
		_, err := c.Execute(t.Context(), "t", branches("a")...)
		if !errors.Is(err, dtc.ErrRolledBack) {
			t.Errorf("got %v", err)
		}
		closed(t, c)
	})
}

type typed struct{ s string }

func (e *typed) Error() string { return e.s }

// TestFileErrorIsNoSilence: an error of a file is the participant's answer, and is not retried.
func TestFileErrorIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fn("a")
		n := 0
		a.PrepareFunc = func(context.Context, dtc.Branch) (dtc.Vote, error) {
			n++
			_, err := os.Open("/no/such/file")
			return dtc.VoteAbort, err
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a}})
		began := time.Now()
		_, err := c.Execute(t.Context(), "t", branches("a")...)
		if !errors.Is(err, fs.ErrNotExist) || n > 1 {
			t.Errorf("%d attempts in %v: %v", n, time.Since(began), err)
		}
		closed(t, c)
	})
}

// TestCauseBelongsToTheReason: an error that comes after the decision explains nothing.
func TestCauseBelongsToTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("out of stock")
		b := fn("b")
		b.PrepareFunc = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) { <-ctx.Done(); return 0, dtc.Refuse(boom) }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{voting("a", dtc.VoteAbort, nil), b}})
		_, err := c.Execute(t.Context(), "t", branches("a", "b")...)
		if errors.Is(err, boom) {
			t.Errorf("reason %q, but unwraps to %q of b", err, boom)
		}
		closed(t, c)
	})
}

// TestRollbackBesideHungCall: also with the least concurrency.
func TestRollbackBesideHungCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fn("a")
		out := make(chan bool)
		var rolled atomic.Bool
		a.PrepareFunc = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) { <-out; return dtc.VoteCommit, nil }
		a.RollbackFunc = func(context.Context, dtc.Branch) error { rolled.Store(true); return nil }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a}, Timing: dtc.Timing{Concurrency: 1}})
		_, err := c.Execute(t.Context(), "t", branches("a")...)
		time.Sleep(time.Hour)
		if !errors.Is(err, dtc.ErrRolledBack) {
			t.Error(err)
		}
		if !rolled.Load() {
			t.Error("no rollback beside the hung prepare in an hour")
		}
		close(out)
		closed(t, c)
	})
}
