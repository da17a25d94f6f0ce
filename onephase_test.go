package dtc_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// single is a participant that commits in one phase, behind a network that the test spoils.
type single struct {
	*dtctest.Memory
	lose    atomic.Int32 // so many answers to CommitOnePhase do not arrive
	mute    atomic.Bool  // no Settle reaches it
	down    atomic.Bool  // nothing reaches it
	stuck   atomic.Bool  // Prove hangs
	answer  error        // to Settle
	before  func(context.Context)
	settled atomic.Int32
}

func newSingle(id string) *single {
	s := &single{Memory: dtctest.NewMemory(id)}
	s.OnePhase = true
	return s
}

var errLost = dtc.NoAnswer(errors.New("the answer was lost"))

func (s *single) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if s.before != nil {
		s.before(ctx)
	}
	if s.down.Load() {
		return dtc.VoteAbort, errLost
	}
	vote, err := s.Memory.CommitOnePhase(ctx, b)
	if s.lose.Load() > 0 {
		s.lose.Add(-1)
		return dtc.VoteAbort, errLost
	}
	return vote, err
}

func (s *single) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	if s.stuck.Load() {
		<-ctx.Done()
		return dtc.XID{}, ctx.Err()
	}
	return s.Memory.Prove(ctx, log, id)
}

func (s *single) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	s.settled.Add(1)
	if s.mute.Load() {
		return dtc.OutcomeUnknown, errLost
	}
	if s.answer != nil {
		return dtc.OutcomeUnknown, s.answer
	}
	return s.Memory.Settle(ctx, b)
}

// onePhase runs a test with a coordinator that has one such participant, called x.
func onePhase(t *testing.T, cfg dtc.Config, f func(t *testing.T, c *dtc.Coordinator, x *single, disk *vfs.Mem)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x, disk := newSingle("x"), vfs.NewMem()
		cfg.Participants = append(cfg.Participants, x)
		c := open(t, disk, &cfg)
		defer c.Close()
		f(t, c, x, disk)
	})
}

func wants(t *testing.T, what string, committed bool, err error, want error) {
	t.Helper()
	if committed != (want == nil) || !errors.Is(err, want) {
		t.Errorf("%s: %v, %v; want %v", what, committed, err, want)
	}
}

// TestOnePhase: one message, no forced write, and the id is remembered.
func TestOnePhase(t *testing.T) {
	rec := &recorder{}
	onePhase(t, dtc.Config{Trace: rec.trace()}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		for range 2 {
			ok, err := c.Execute(t.Context(), "t", branches("x")...)
			wants(t, "execute", ok, err, nil)
		}
		want := []string{"append one_phase", "commit_one_phase x", "decided committed", "append end", "ended committed"}
		if got := rec.all(); !slices.Equal(got, want) {
			t.Errorf("steps %q, want %q", got, want)
		}
		if n := x.Counts(); n.Committed != 1 || n.Prepared != 0 {
			t.Errorf("%+v", n)
		}
		if _, err := c.Execute(t.Context(), "t", dtc.Branch{Participant: "x"}); !errors.Is(err, dtc.ErrTxConflict) {
			t.Errorf("the same id with another payload: %v", err)
		}
	})
}

// TestOnePhaseWithTwo: two branches go two phases, whatever their participants are able to,
// and so does one whose participant does not want to.
func TestOnePhaseWithTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y, z := newSingle("x"), newSingle("y"), newSingle("z")
		z.OnePhase = false
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{x, y, z}})
		defer c.Close()
		ok, err := c.Execute(t.Context(), "t", branches("x", "y")...)
		wants(t, "two branches", ok, err, nil)
		ok, err = c.Execute(t.Context(), "u", branches("z")...)
		wants(t, "one branch", ok, err, nil)
		settle(t, c)
		if x.Counts().Prepared != 1 || z.Counts().Prepared != 1 || x.Counts().OnePhase+z.Counts().OnePhase > 0 {
			t.Errorf("%+v, %+v", x.Counts(), z.Counts())
		}
	})
}

// TestOnePhaseAborts: a refusal is the outcome; nobody is asked again.
func TestOnePhaseAborts(t *testing.T) {
	rec := &recorder{}
	onePhase(t, dtc.Config{Trace: rec.trace()}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		broke := errors.New("no money")
		x.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteAbort, dtc.Refuse(broke) }
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, broke)
		var rolled *dtc.RollbackError
		if !errors.As(err, &rolled) || rolled.Reason != (dtc.Reason{Code: dtc.ReasonVoteAbort, Participant: "x", Message: "no money"}) {
			t.Errorf("%+v", rolled)
		}
		want := []string{"append one_phase", "commit_one_phase x", "append abort", "decided rolled_back", "append end", "ended rolled_back"}
		if got := rec.all(); !slices.Equal(got, want) {
			t.Errorf("steps %q, want %q", got, want)
		}
	})
}

// TestOnePhaseError: an error that is no refusal says nothing; the branch is settled, and
// the error stays the reason.
func TestOnePhaseError(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		odd := errors.New("something odd")
		x.OnPrepare = func(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, odd }
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, odd)
		if x.settled.Load() != 1 || !strings.Contains(err.Error(), "something odd") {
			t.Errorf("settled %d times: %v", x.settled.Load(), err)
		}
	})
}

// TestOnePhaseAnswersLost: the call is repeated until the prepare timeout, then the branch
// is settled, as it is.
func TestOnePhaseAnswersLost(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		x.lose.Store(1)
		ok, err := c.Execute(t.Context(), "once", branches("x")...)
		wants(t, "one answer lost", ok, err, nil)
		x.lose.Store(1000)
		ok, err = c.Execute(t.Context(), "all", branches("x")...)
		wants(t, "all answers lost", ok, err, nil)
		if n := x.Counts(); n.Committed != 2 || x.settled.Load() != 1 {
			t.Errorf("%+v, settled %d times", n, x.settled.Load())
		}
		x.lose.Store(0)
		x.OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			<-ctx.Done()
			return dtc.VoteAbort, ctx.Err()
		}
		ok, err = c.Execute(t.Context(), "never", branches("x")...)
		wants(t, "never answered", ok, err, dtc.ErrRolledBack)
		var rolled *dtc.RollbackError
		if !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonPrepareTimeout {
			t.Errorf("%v", err)
		}
	})
}

// TestOnePhaseCancelled: what the caller gave up on is settled before anything is said.
func TestOnePhaseCancelled(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		ctx, cancel := context.WithCancel(t.Context())
		x.lose.Store(1)
		x.before = func(context.Context) { cancel() }
		ok, err := c.Execute(ctx, "t", branches("x")...)
		wants(t, "committed, and given up on", ok, err, nil)
	})
}

// TestOnePhaseInDoubt: while the participant says nothing nobody hears an outcome, or waits
// for ever; when it does, the outcome is there.
func TestOnePhaseInDoubt(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		x.lose.Store(1000)
		x.mute.Store(true)
		joined := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			_, err := c.Execute(t.Context(), "t", branches("x")...)
			joined <- err
		}()
		began := time.Now()
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, dtc.ErrInDoubt)
		if waited := time.Since(began); waited < 6*time.Second || waited > 7*time.Second {
			t.Errorf("it waited %v", waited)
		}
		if err := <-joined; !errors.Is(err, dtc.ErrInDoubt) {
			t.Errorf("who joined heard %v", err)
		}
		_, err = c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "who joins later", false, err, dtc.ErrInDoubt)
		if info, err := c.Transaction("t"); info.State != "preparing" || info.Outcome != dtc.OutcomeUnknown || info.Branches[0].LastError == "" || info.Reason != (dtc.Reason{}) {
			t.Errorf("%+v, %v", info, err)
		}
		x.mute.Store(false)
		settle(t, c)
		ok, err = c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "afterwards", ok, err, nil)
		if n := x.Counts().Committed; n != 1 {
			t.Errorf("it took effect %d times", n)
		}
	})
}

// TestOnePhaseFinishedError: to settle may also be answered with what says that a branch was
// finished already.
func TestOnePhaseFinishedError(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		x.lose.Store(1000)
		x.answer = &dtc.FinishedError{Outcome: dtc.Committed}
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, nil)
		if n := c.Stats().Hazards; n > 0 {
			t.Errorf("%d hazards", n)
		}
	})
}

// TestOnePhaseHangs: a call that outlives its context is settled beside it, and the
// transaction is not forgotten before it has returned.
func TestOnePhaseHangs(t *testing.T) {
	onePhase(t, dtc.Config{}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		release := make(chan bool)
		x.before = func(context.Context) { <-release }
		ok, err := c.Execute(t.Context(), "t", branches("x")...)
		wants(t, "execute", ok, err, dtc.ErrRolledBack)
		if c.Stats().Unfinished != 1 {
			t.Errorf("forgotten while a call is out")
		}
		close(release)
		settle(t, c)
		if x.Counts().Committed != 0 || c.Stats().Hazards != 0 {
			t.Errorf("%+v, %+v", x.Counts(), c.Stats())
		}
	})
}
