package dtc_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// over returns the participant as the next process sees it; nothing that the one before
// does reaches it any more.
func (s *single) over() *single {
	s.mute.Store(true)
	s.down.Store(true)
	return &single{Memory: s.Memory}
}

// powerLoss drops all that was not forced.
func powerLoss(int, int) int { return 0 }

// TestOnePhasePowerLoss: the log knows nothing of a transaction that was told committed. The
// same request gets the same answer, the work is done once, and the id can be proved.
func TestOnePhasePowerLoss(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, nil)
		before, err := c.Transaction("t")
		if err != nil {
			t.Fatal(err)
		}
		y := x.over()
		c = open(t, disk.CrashWith(powerLoss), &dtc.Config{Participants: []dtc.Participant{y}})
		defer c.Close()
		if _, err := c.Transaction("t"); !errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("the log still knows it: %v", err)
		}
		info, err := c.Prove(t.Context(), "t")
		if err != nil || info.XID != before.XID || info.TxID != "t" || info.State != "committed" || info.Outcome != dtc.Committed {
			t.Errorf("prove: %+v, %v", info, err)
		}
		if info, err := c.Commit(t.Context(), "t", nil); err != nil || info.XID != before.XID || info.Outcome != dtc.Committed {
			t.Errorf("commit, as the last step: %+v, %v", info, err)
		}
		if _, err := c.Commit(t.Context(), "t", &dtc.TxOptions{XID: dtc.XID{Log: c.ID(), Incarnation: before.XID.Incarnation, Seq: 77}}); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("commit of another one: %v", err)
		}
		if _, err := c.Prove(t.Context(), "u"); !errors.Is(err, dtc.ErrUnknownTx) {
			t.Errorf("prove of an id that never was: %v", err)
		}
		y.Crash()
		if _, err := c.Prove(t.Context(), "t"); !errors.Is(err, dtc.ErrUnknownTx) || !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("prove without the participant: %v", err)
		}
		y.Restart(true)
		y.stuck.Store(true)
		if _, err := c.Prove(t.Context(), "t"); !errors.Is(err, dtc.ErrUnknownTx) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("prove with a participant that hangs: %v", err)
		}
		y.stuck.Store(false)
		ok, err = c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "the same request", ok, err, nil)
		if n := y.Counts().Committed; n != 1 {
			t.Errorf("it took effect %d times", n)
		}
		_, err = c.Execute(t.Context(), "v", dtc.Branch{Participant: "x"})
		wants(t, "another one", err == nil, err, nil)
	})
}

// TestOnePhaseRunAgain: after a power loss the function given to Run finds its own work done
// and fails. Nobody is told that it was rolled back.
func TestOnePhaseRunAgain(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
		enlist := func(fails error) func(context.Context, *dtc.Tx) error {
			return func(_ context.Context, tx *dtc.Tx) error { return errors.Join(tx.Enlist("x", nil), fails) }
		}
		exists := errors.New("there is such an order")
		if err := c.Run(t.Context(), "u", enlist(exists)); !errors.Is(err, dtc.ErrRolledBack) || !errors.Is(err, exists) {
			t.Errorf("what really failed: %v", err)
		}
		if err := c.Run(t.Context(), "t", enlist(nil)); err != nil {
			t.Fatal(err)
		}
		c = open(t, disk.CrashWith(powerLoss), &dtc.Config{Participants: []dtc.Participant{x.over()}})
		defer c.Close()
		if err := c.Run(t.Context(), "t", enlist(exists)); err != nil {
			t.Errorf("told %v of what was committed", err)
		}
	})
}

// TestOnePhaseKilled: the record is there, and no answer. The next process asks.
func TestOnePhaseKilled(t *testing.T) {
	for _, committed := range []bool{true, false} {
		onePhase(t, dtc.Config{CompletionWait: -1}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
			if committed {
				x.lose.Store(1000)
			} else {
				x.down.Store(true)
			}
			x.mute.Store(true)
			_, err := c.Execute(t.Context(), "t", branches("x")...)
			wants(t, "execute", false, err, dtc.ErrInDoubt)
			y := x.over()
			disk = disk.Kill()
			c = open(t, disk, &dtc.Config{})
			if info, err := c.Transaction("t"); err != nil || info.State != "preparing" || info.Outcome != dtc.OutcomeUnknown {
				t.Errorf("without the participant: %+v, %v", info, err)
			}
			if err := c.Register(fn("x")); err != nil { // one that cannot tell
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if info, err := c.Transaction("t"); err != nil || info.State != "preparing" {
				t.Errorf("with another participant: %+v, %v", info, err)
			}
			if err := c.Register(y); err != nil {
				t.Fatal(err)
			}
			settle(t, c)
			for range 2 { // and the one after it says the same
				o, err := c.Outcome(t.Context(), "t")
				if want := map[bool]dtc.Outcome{true: dtc.Committed, false: dtc.RolledBack}[committed]; o != want || err != nil {
					t.Errorf("told %v, %v; want %v", o, err, want)
				}
				closed(t, c)
				c = open(t, disk, &dtc.Config{})
			}
			closed(t, c)
		})
	}
}

// TestOnePhaseEvidenceDropped: an end record was lost, and when the log is opened again it
// is so late that the participant has dropped what it knew. Nothing is guessed.
func TestOnePhaseEvidenceDropped(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
		x.lose.Store(1000)
		x.mute.Store(true)
		_, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", false, err, dtc.ErrInDoubt)
		info, err := c.Transaction("t")
		if err != nil {
			t.Fatal(err)
		}
		y := x.over()
		y.DropEvidence(dtc.XID{Log: info.XID.Log, Incarnation: info.XID.Incarnation, Seq: info.XID.Seq + 1})
		disk = disk.Kill()
		for range 2 {
			c = open(t, disk, &dtc.Config{Participants: []dtc.Participant{y}})
			settle(t, c)
			if info, err := c.Transaction("t"); !errors.Is(err, dtc.ErrUnknownTx) {
				t.Errorf("told %+v, %v", info, err)
			}
			closed(t, c)
		}
	})
}

// TestOnePhaseResolved: an operator says what the participant does not. That is the outcome,
// also of the next process, and the participant is not asked any more.
func TestOnePhaseResolved(t *testing.T) {
	for _, grown := range []bool{false, true} { // by code, which failed: nothing of it is in the log
		for _, o := range []dtc.Outcome{dtc.Committed, dtc.RolledBack} {
			onePhase(t, dtc.Config{CompletionWait: -1}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
				x.lose.Store(1000)
				x.mute.Store(true)
				var err error
				if grown {
					err = c.Run(t.Context(), "t", func(_ context.Context, tx *dtc.Tx) error {
						return errors.Join(tx.Enlist("x", nil), errors.New("no"))
					})
				} else {
					_, err = c.Execute(t.Context(), "t", branches("x")...)
				}
				wants(t, "begun", false, err, dtc.ErrInDoubt)
				if err := c.Resolve(t.Context(), "t", "x", o, "looked at it"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // a call may have been out
				asked := x.settled.Load()
				time.Sleep(time.Hour / 2)
				if got, err := c.Outcome(t.Context(), "t"); got != o || err != nil || c.Stats().Unfinished > 0 || x.settled.Load() != asked {
					t.Errorf("told %v, %v; asked %d times more", got, err, x.settled.Load()-asked)
				}
				if err := c.Resolve(t.Context(), "t", "x", dtc.Committed, "again"); !errors.Is(err, dtc.ErrUnknownTx) {
					t.Errorf("a second statement: %v", err)
				}
				c = open(t, disk.CrashWith(powerLoss), &dtc.Config{Participants: []dtc.Participant{x.over()}})
				defer c.Close()
				settle(t, c)
				if got, err := c.Outcome(t.Context(), "t"); got != o || err != nil {
					t.Errorf("the next process tells %v, %v", got, err)
				}
			})
		}
	}
}

// TestOnePhaseResolveBesideAnswer: the participant answers while the operator's statement is
// being written. The statement counts, before a restart and after it.
func TestOnePhaseResolveBesideAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, x := vfs.NewMem(), newSingle("x")
		log, err := wal.Open("log", &wal.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		slow := slowResolution{log, make(chan bool), make(chan bool)}
		c, err := dtc.OpenLog(slow, &dtc.Config{Participants: []dtc.Participant{x}, Logger: quiet, CompletionWait: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		x.lose.Store(1000)
		x.mute.Store(true)
		_, err = c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", false, err, dtc.ErrInDoubt)
		stated := make(chan error)
		go func() { stated <- c.Resolve(t.Context(), "t", "x", dtc.RolledBack, "a mistake") }()
		<-slow.written
		x.mute.Store(false)
		time.Sleep(time.Hour / 2) // it is asked, and says that it has committed
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.OutcomeUnknown || err != nil {
			t.Errorf("told %v, %v before the statement is durable", o, err)
		}
		crashed := disk.Kill()
		close(slow.release)
		if err := <-stated; err != nil {
			t.Fatal(err)
		}
		first, err := c.Outcome(t.Context(), "t")
		if first != dtc.RolledBack || err != nil {
			t.Errorf("told %v, %v", first, err)
		}
		c = open(t, crashed, &dtc.Config{Participants: []dtc.Participant{x.over()}})
		defer c.Close()
		settle(t, c)
		if o, err := c.Outcome(t.Context(), "t"); o != first || err != nil {
			t.Errorf("the next process tells %v, %v", o, err)
		}
	})
}

// failingResolution is a log that fails under an operator's statement.
type failingResolution struct {
	*wal.Log
	err error
}

func (l failingResolution) Force(r txlog.Record) error {
	if _, ok := r.(*txlog.Resolution); ok {
		return l.err
	}
	return l.Log.Force(r)
}

// TestOnePhaseResolveFails: a statement that is not in the log counts for nothing, and one
// that may be leaves the outcome to the next process.
func TestOnePhaseResolveFails(t *testing.T) {
	for _, failure := range []error{txlog.ErrRefused, txlog.ErrUnknown} {
		synctest.Test(t, func(t *testing.T) {
			x := newSingle("x")
			log, err := wal.Open("log", &wal.Options{FS: vfs.NewMem()})
			if err != nil {
				t.Fatal(err)
			}
			c, err := dtc.OpenLog(failingResolution{log, failure}, &dtc.Config{Participants: []dtc.Participant{x}, Logger: quiet, CompletionWait: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			x.lose.Store(1000)
			x.mute.Store(true)
			_, err = c.Execute(t.Context(), "t", branches("x")...)
			wants(t, "execute", false, err, dtc.ErrInDoubt)
			if err := c.Resolve(t.Context(), "t", "x", dtc.RolledBack, "a mistake"); !errors.Is(err, dtc.ErrLogFailed) {
				t.Errorf("resolve: %v", err)
			}
			x.mute.Store(false)
			time.Sleep(time.Hour / 2)
			o, err := c.Outcome(t.Context(), "t")
			if errors.Is(failure, txlog.ErrRefused) && (o != dtc.Committed || err != nil) {
				t.Errorf("told %v, %v; the participant says that it has committed", o, err)
			}
			if errors.Is(failure, txlog.ErrUnknown) && !errors.Is(err, dtc.ErrInDoubt) {
				t.Errorf("told %v, %v; the statement may be durable", o, err)
			}
		})
	}
}

// TestOnePhaseHeld: while the log may not be the whole truth nobody is asked what became of
// a branch, because who is asked makes sure that it cannot commit.
func TestOnePhaseHeld(t *testing.T) {
	onePhase(t, dtc.Config{CompletionWait: -1}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
		x.lose.Store(1000)
		x.mute.Store(true)
		_, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", false, err, dtc.ErrInDoubt)
		y := x.over()
		c = open(t, disk.CopyFiles(), &dtc.Config{Participants: []dtc.Participant{y}}) // a copy
		defer c.Close()
		if _, held := c.Held(); !held {
			t.Fatal("no hold")
		}
		time.Sleep(time.Hour / 2)
		if _, err := c.Outcome(t.Context(), "t"); !errors.Is(err, dtc.ErrInDoubt) || y.settled.Load() > 0 {
			t.Errorf("held: %v, asked %d times", err, y.settled.Load())
		}
		if err := c.Release(t.Context(), "looked"); err != nil {
			t.Fatal(err)
		}
		settle(t, c)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Committed {
			t.Errorf("released: %v, %v", o, err)
		}
	})
}

// TestTwoPhasesAfterOnePhase: a participant commits an id in one phase, the power takes the
// answer and the record, and the same request runs again in two phases. The read-only vote
// stands for a commit then, and who was told so is told nothing else after the next power loss.
func TestTwoPhasesAfterOnePhase(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem) {
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, nil)
		disk = disk.CrashWith(powerLoss)
		y := twice{x.over(), make(chan struct{})}
		y.OnePhase = false
		forced := fn("forced")
		cfg := &dtc.Config{Participants: []dtc.Participant{y, forced}}
		c = open(t, disk, cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			ok, err := c.Execute(t.Context(), "t", branches("x")...)
			wants(t, "execute in two phases", ok, err, nil)
		}()
		time.Sleep(time.Second) // its beginning is written, and now made durable
		if ok, err := c.Execute(t.Context(), "other", branches("forced")...); !ok {
			t.Fatal(err)
		}
		close(y.vote)
		<-done
		disk = disk.CrashWith(powerLoss)
		defer c.Close()
		c = open(t, disk, cfg)
		defer c.Close()
		time.Sleep(time.Minute)
		if o, err := c.Outcome(t.Context(), "t"); o != dtc.Committed {
			t.Errorf("the outcome that was told is %s now: %v", o, err)
		}
		ok, err = c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute again", ok, err, nil)
	})
}

// twice waits before it votes.
type twice struct {
	*single
	vote chan struct{}
}

func (w twice) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	<-w.vote
	return w.single.Prepare(ctx, b)
}
