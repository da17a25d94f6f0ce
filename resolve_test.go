package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// fn is a listing participant that votes to commit.
func fn(id string) dtc.ParticipantFuncs {
	return dtc.ParticipantFuncs{
		ParticipantID: id, InDoubtFunc: listsNothing,
		PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
	}
}

// TestResolveOfTheGone: an operator resolves a branch whose participant is not there any more; nothing is sent to it afterwards.
func TestResolveOfTheGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		dead := fn("gone")
		dead.CommitFunc = func(context.Context, dtc.Branch) error { return dtc.NoAnswer(errors.New("dead")) }
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{dead}})
		if ok, err := c.Execute(t.Context(), "t", branches("gone")...); !ok {
			t.Fatal(err)
		}
		closed(t, c)
		var told []string
		c = open(t, disk, &dtc.Config{Trace: &dtc.Trace{Resolved: func(tx dtc.TraceTx, participant string, o dtc.Outcome) {
			told = append(told, string(tx.TxID), participant, o.String())
		}}})
		time.Sleep(time.Second)
		if err := c.Resolve(t.Context(), "t", "nobody", dtc.Committed, "a mistake"); err == nil {
			t.Fatal("a branch that there is not was resolved")
		}
		if err := c.Resolve(t.Context(), "t", "gone", dtc.Committed, "gone for ever"); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(told, " "); got != "t gone committed" {
			t.Errorf("the trace was told %q", got)
		}
		time.Sleep(24 * time.Hour)
		for info := range c.Transactions(dtc.Filter{}) {
			t.Errorf("a day after Resolve: %+v", info)
		}
		var called int
		late := fn("gone")
		late.CommitFunc = func(context.Context, dtc.Branch) error { called++; return nil }
		_ = c.Register(late)
		time.Sleep(time.Minute)
		if called > 0 {
			t.Errorf("Commit was sent %d times after Resolve (doc: nothing more is sent to it)", called)
		}
		closed(t, c)
	})
}

// slowResolution holds up the answer to a resolution record.
type slowResolution struct {
	*wal.Log
	written chan bool
	release chan bool
}

func (l slowResolution) Force(r txlog.Record) error {
	err := l.Log.Force(r)
	if _, ok := r.(*txlog.Resolution); ok {
		close(l.written)
		<-l.release
	}
	return err
}

// TestResolveBesideAck: a participant acknowledges while the operator's statement is written. What is told before a restart is told after it.
func TestResolveBesideAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		ack := make(chan bool)
		a, b := fn("a"), fn("b")
		a.CommitFunc = func(context.Context, dtc.Branch) error { <-ack; return nil }
		b.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("down") }
		log, err := wal.Open("log", &wal.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		sl := slowResolution{log, make(chan bool), make(chan bool)}
		c, err := dtc.OpenLog(sl, &dtc.Config{Participants: []dtc.Participant{a, b}, Logger: quiet, CompletionWait: -1})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := c.Execute(t.Context(), "t", branches("a", "b")...); !ok {
			t.Fatal(err)
		}
		res := make(chan error)
		go func() { res <- c.Resolve(t.Context(), "t", "a", dtc.RolledBack, "by hand") }()
		<-sl.written
		close(ack) // a commits, and says so
		synctest.Wait()
		close(sl.release)
		if err := <-res; err != nil {
			t.Errorf("Resolve: %v", err)
		}
		o, err := c.Outcome(t.Context(), "t")
		if o != dtc.Heuristic {
			t.Errorf("before the restart it is %v, %v: the statement counts", o, err)
		}
		_ = c.Close()
		c2 := open(t, disk, &dtc.Config{Participants: []dtc.Participant{a, fn("b")}})
		settle(t, c2)
		o2, err := c2.Outcome(t.Context(), "t")
		if o != o2 {
			t.Errorf("told %v, and after a restart %v, %v", o, o2, err)
		}
		closed(t, c2)
	})
}

// TestHazardAfterResolve: a participant that had ended otherwise is heard also after an operator agreed with the decision.
func TestHazardAfterResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fn("a")
		in, out := make(chan bool), make(chan bool)
		a.CommitFunc = func(context.Context, dtc.Branch) error {
			close(in)
			<-out
			return &dtc.FinishedError{Outcome: dtc.RolledBack}
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a}, CompletionWait: -1})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		<-in
		if err := c.Resolve(t.Context(), "t", "a", dtc.Committed, "x"); err != nil {
			t.Fatal(err)
		}
		close(out)
		time.Sleep(time.Second)
		o, err := c.Outcome(t.Context(), "t")
		if o != dtc.Heuristic || c.Stats().Hazards != 1 {
			t.Errorf("the participant said that it rolled back, and nobody hears of it: %v, %v", o, err)
		}
		closed(t, c)
	})
}

// TestRetryCallsNow: also when the participant is down.
func TestRetryCallsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		a := fn("a")
		a.CommitFunc = func(context.Context, dtc.Branch) error { calls.Add(1); return dtc.NoAnswer(errors.New("down")) }
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{a}, CompletionWait: -1})
		if ok, err := c.Execute(t.Context(), "t", branches("a")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		called := 0
		for range 100 {
			n := calls.Load()
			if err := c.Retry(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if calls.Load() > n {
				called++
			}
			time.Sleep(time.Second)
		}
		if called != 100 {
			t.Errorf("of 100 retries %d called the branch", called)
		}
		closed(t, c)
	})
}

// TestRetryWhileGrowing: the branches may be growing meanwhile.
func TestRetryWhileGrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []dtc.Participant
		for i := range 200 {
			all = append(all, fn(fmt.Sprint("p", i)))
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: all})
		_ = c.Run(t.Context(), "t", func(ctx context.Context, tx *dtc.Tx) error {
			done := make(chan bool)
			go func() {
				for range 200 {
					_ = c.Retry(ctx, "t")
				}
				close(done)
			}()
			for i := range 200 {
				_ = tx.Enlist(fmt.Sprint("p", i), nil)
			}
			<-done
			return nil
		})
		closed(t, c)
	})
}

// TestResolveBeforeRecoveryComesToIt: recovery is still busy with an older transaction.
// Of one that no log decides nobody is told anything before recovery decides it, and
// an operator's statement stands in the log behind that decision.
func TestResolveBeforeRecoveryComesToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		var dead *vfs.Mem
		asked := make(chan bool, 100)
		hang := dtc.ParticipantFuncs{ParticipantID: "a", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			asked <- true
			<-ctx.Done()
			return dtc.VoteAbort, ctx.Err()
		}}
		c := open(t, disk, &dtc.Config{Participants: []dtc.Participant{hang}})
		done := make(chan bool, 2)
		for _, id := range []dtc.TxID{"first", "second"} {
			go func() { _, _ = c.Execute(t.Context(), id, branches("a")...); done <- true }()
			<-asked
		}
		dead = disk.Kill() // both are prepared for, and neither is decided
		<-done
		<-done
		closed(t, c)

		in, out := make(chan bool), make(chan bool)
		slow := fn("a")
		slow.NeverBlocks = true // which is a lie: recovery itself waits for it
		slow.RollbackFunc = func(_ context.Context, b dtc.Branch) error {
			if b.TxID == "first" {
				close(in)
				<-out
			}
			return nil
		}
		c = open(t, dead, &dtc.Config{Participants: []dtc.Participant{slow}})
		<-in
		if o, err := c.Outcome(t.Context(), "second"); o != dtc.OutcomeUnknown || err != nil {
			t.Errorf("before it is decided its outcome is told as %v, %v", o, err)
		}
		for info := range c.Transactions(dtc.Filter{}) {
			if info.TxID == "second" && (info.State != "preparing" || info.Outcome != dtc.OutcomeUnknown) {
				t.Errorf("before it is decided it is shown as %+v", info)
			}
		}
		err := c.Resolve(t.Context(), "second", "a", dtc.Committed, "seen at the participant")
		if err != nil && !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("resolve: %v", err)
		}
		if o, err := c.Outcome(t.Context(), "second"); o != dtc.RolledBack {
			t.Errorf("after it was decided its outcome is %v, %v", o, err)
		}
		close(out)
		settle(t, c)
		closed(t, c)
		c = open(t, dead, &dtc.Config{Participants: []dtc.Participant{fn("a")}})
		if o, err := c.Outcome(t.Context(), "second"); o != dtc.RolledBack {
			t.Errorf("after a restart its outcome is %v, %v", o, err)
		}
		closed(t, c)
	})
}

// A transaction that is rolled back while it grows stands in no log. If a branch of it
// is resolved all the same the statement must be one that the log can hold, and a
// restart must find it.
func TestResolveOfWhatWasNeverLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		dead, well := fn("dead"), fn("well")
		dead.RollbackFunc = func(context.Context, dtc.Branch) error { return dtc.NoAnswer(errors.New("dead")) }
		well.RollbackFunc = dead.RollbackFunc
		cfg := &dtc.Config{Participants: []dtc.Participant{dead, well}}
		c := open(t, disk, cfg)
		if _, _, err := c.Begin("t", nil); err != nil {
			t.Fatal(err)
		}
		for _, b := range branches("dead", "well") {
			if _, _, err := c.Enlist("t", b); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Rollback(t.Context(), "t", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Resolve(t.Context(), "t", "dead", dtc.Committed, "so it says"); err != nil {
			t.Fatal(err)
		}
		sound(t, disk)
		closed(t, c)
		well.RollbackFunc = nil
		cfg.Participants[1] = well
		c = open(t, disk, cfg)
		settle(t, c)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Heuristic {
			t.Errorf("after a restart the outcome is %v, %v; want heuristic", o, err)
		}
		closed(t, c)
	})
}

// TestResolveAgainstTheDecision: what an operator has stated against the decision is no
// participant's fault, nobody is told to resolve it once more, and no retry is shown
// for it.
func TestResolveAgainstTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := fn("down")
		down.CommitFunc = func(context.Context, dtc.Branch) error { return dtc.NoAnswer(errors.New("down")) }
		var lines strings.Builder
		c := open(t, vfs.NewMem(), &dtc.Config{
			Participants: []dtc.Participant{down}, CompletionWait: -1, KeepEnded: 10, Logger: slog.New(slog.NewTextHandler(&lines, nil)),
		})
		if ok, err := c.Execute(t.Context(), "t", branches("down")...); !ok {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for info := range c.Transactions(dtc.Filter{}) {
			if info.Branches[0].NextAttempt.IsZero() {
				t.Errorf("no retry waits: %+v", info)
			}
		}
		if err := c.Resolve(t.Context(), "t", "down", dtc.RolledBack, "wrong on purpose"); err != nil {
			t.Fatal(err)
		}
		n := 0
		for info := range c.Transactions(dtc.Filter{State: "heuristic"}) {
			n++
			if b := info.Branches[0]; b.State != "heuristic_rolled_back" || !b.NextAttempt.IsZero() {
				t.Errorf("%+v", b)
			}
		}
		closed(t, c)
		if text := lines.String(); n != 1 || !strings.Contains(text, "against the decision") || strings.Contains(text, "broke its promise") {
			t.Errorf("%d are heuristic; the log has\n%s", n, text)
		}
	})
}
