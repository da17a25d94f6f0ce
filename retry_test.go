package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestRetryBothPhases: over a way that loses 30 % of the messages in each
// direction, everything is repeated until it is answered, in both phases.
func TestRetryBothPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		list := services("inventory", "payment", "orders")
		choosy := dtc.ParticipantFuncs{ // it refuses, late: the others hold something by then
			ParticipantID: "choosy", InDoubtFunc: listsNothing,
			PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
				time.Sleep(500 * time.Millisecond)
				return dtc.VoteAbort, errors.New("not today")
			},
		}
		var all []dtc.Participant
		var flaky []*dtctest.Flaky
		for i, p := range list {
			f := dtctest.NewFlaky(p, uint64(i), dtctest.Faults{Rate: map[dtctest.Fault]float64{
				dtctest.Drop: 0.3, dtctest.LoseAnswer: 0.7 * 0.3,
			}})
			flaky, all = append(flaky, f), append(all, f)
		}
		var rec recorder
		c := open(t, vfs.NewMem(), &dtc.Config{
			Participants: append(all, choosy), Trace: rec.trace(), Timing: dtc.Timing{PrepareTimeout: 30 * time.Second},
		})
		committed := 0
		for i := range n {
			ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("inventory", "payment", "orders")...)
			if ok {
				committed++
			} else if !errors.Is(err, dtc.ErrRolledBack) {
				t.Fatal(err)
			}
			ok, err = c.Execute(t.Context(), dtc.TxID(fmt.Sprint("refused-", i)), branches("inventory", "payment", "choosy")...)
			if ok || !errors.Is(err, dtc.ErrRolledBack) {
				t.Fatal(ok, err)
			}
		}
		settle(t, c)
		closed(t, c)
		lost := 0
		for i, f := range flaky {
			lost += f.Injected()[dtctest.Drop] + f.Injected()[dtctest.LoseAnswer]
			if got := list[i].Counts().Committed; got != committed || len(list[i].Prepared()) != 0 {
				t.Errorf("%s committed %d of %d, and holds %d", f.ID(), got, committed, len(list[i].Prepared()))
			}
		}
		t.Logf("%d transactions, %d committed, %d messages lost, %d prepares, %d commits and %d rollbacks repeated",
			2*n, committed, lost, len(rec.waits["prepare"]), len(rec.waits["commit"]), len(rec.waits["rollback"]))
		if committed != n || lost < n || len(rec.waits["prepare"]) < n/2 || len(rec.waits["commit"]) < n/2 || len(rec.waits["rollback"]) < n/4 {
			t.Error("the way was not bad enough, or not everything committed")
		}
	})
}

// TestBackoffIsExponential: in both phases the waits double up to a cap, and each
// is drawn at random between nothing and that.
func TestBackoffIsExponential(t *testing.T) {
	gone := fmt.Errorf("%w: gone", dtc.ErrNoAnswer)
	for verb, cap := range map[string]time.Duration{
		"prepare": time.Second, "commit": 30 * time.Second, "rollback": 30 * time.Second,
	} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dead := dtc.ParticipantFuncs{
					ParticipantID: "dead",
					PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
						switch verb {
						case "prepare":
							return dtc.VoteAbort, gone
						case "rollback":
							return dtc.VoteAbort, errors.New("no, and half of it is done")
						}
						return dtc.VoteCommit, nil
					},
					CommitFunc:   func(context.Context, dtc.Branch) error { return gone },
					RollbackFunc: func(context.Context, dtc.Branch) error { return gone },
				}
				var rec recorder
				c := open(t, vfs.NewMem(), &dtc.Config{
					Participants: []dtc.Participant{dead}, Trace: rec.trace(), Timing: dtc.Timing{PrepareTimeout: time.Hour},
				})
				ok, err := c.Execute(t.Context(), "t", branches("dead")...)
				if ok != (verb == "commit") {
					t.Fatal(ok, err)
				}
				time.Sleep(2 * time.Hour)
				closed(t, c)
				checkWaits(t, rec.waits[verb], cap)
			})
		})
	}
}

// TestVoteByErrorIsAnAnswer: a vote that is an error is no failed attempt, so the
// first wait in phase two is that of a first failure. Each of many rollbacks fails
// once; were the vote counted, half of the waits would be too long.
func TestVoteByErrorIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 64
		p := dtc.ParticipantFuncs{
			ParticipantID: "p", InDoubtFunc: listsNothing,
			PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
				return dtc.VoteAbort, errors.New("no, and half of it is done")
			},
			RollbackFunc: func(_ context.Context, b dtc.Branch) error {
				if b.Attempt == 1 {
					return fmt.Errorf("%w: once", dtc.ErrNoAnswer)
				}
				return nil
			},
		}
		var rec recorder
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}, Trace: rec.trace()})
		for i := range n {
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("t", i)), branches("p")...); ok || !errors.Is(err, dtc.ErrRolledBack) {
				t.Fatal(ok, err)
			}
			settle(t, c)
		}
		closed(t, c)
		if got := len(rec.waits["rollback"]); got != n {
			t.Errorf("%d waits, want %d", got, n)
		}
		for i, w := range rec.waits["rollback"] {
			if w > 50*time.Millisecond {
				t.Errorf("wait %d is %v, want at most 50ms", i, w)
			}
		}
	})
}

func checkWaits(t *testing.T, waits []time.Duration, cap time.Duration) {
	t.Helper()
	if len(waits) < 120 {
		t.Fatalf("%d waits in an hour or two; want them capped at %v", len(waits), cap)
	}
	var sum time.Duration
	long, distinct := 0, map[time.Duration]bool{}
	for i, w := range waits {
		limit := cap
		if i < 20 {
			limit = min(cap, 50*time.Millisecond<<i)
		}
		if w <= 0 || w > limit {
			t.Errorf("wait %d is %v, want at most %v", i+1, w, limit)
		}
		if i >= 20 {
			sum += w
			distinct[w] = true
			if w > cap/2 {
				long++
			}
		}
	}
	// Half of them are above half the cap, give or take: with 100 or more a quarter
	// is out of reach of chance.
	n := len(waits) - 20
	if long < n/4 || long > n*3/4 {
		t.Errorf("%d of %d late waits are above half of the cap of %v: they do not grow, or are not random", long, n, cap)
	}
	if len(distinct) < n/2 {
		t.Errorf("%d different waits of %d: everybody would come back in step", len(distinct), n)
	}
	if mean := sum / time.Duration(n); mean < cap/4 || mean > cap*3/4 {
		t.Errorf("late waits are %v on average, want about %v", mean, cap/2)
	}
}

// TestConcurrentTransfers: a thousand transactions at once over shared accounts;
// the sums are right at rest.
func TestConcurrentTransfers(t *testing.T) {
	const n, accounts = 1000, 8
	const start = 500
	var list []*bank
	var all []dtc.Participant
	for i := range accounts {
		b := newBank(fmt.Sprint("bank", i), start, func(p []byte) (n int64) {
			_, _ = fmt.Sscan(string(p), &n)
			return n
		})
		list = append(list, b)
		all = append(all, dtctest.NewFlaky(b.Memory, uint64(i), dtctest.Faults{
			MaxDelay: time.Millisecond,
			Rate: map[dtctest.Fault]float64{
				dtctest.Drop: 0.03, dtctest.LoseAnswer: 0.03, dtctest.Duplicate: 0.05, dtctest.AtOnce: 0.02, dtctest.Delay: 0.1, dtctest.Echo: 0.03,
			},
		}))
	}
	c := open(t, vfs.NewMem(), &dtc.Config{
		Participants: all,
		Timing:       dtc.Timing{Backoff: time.Millisecond, PrepareTimeout: 20 * time.Second, FinishBackoffCap: 50 * time.Millisecond},
	})
	var committed, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			from, to := rand.IntN(accounts), rand.IntN(accounts-1)
			if to >= from {
				to++
			}
			amount := 1 + rand.IntN(300)
			ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("transfer-", i)),
				dtc.Branch{Participant: list[from].ID(), Payload: fmt.Append(nil, -amount)},
				dtc.Branch{Participant: list[to].ID(), Payload: fmt.Append(nil, amount)})
			switch {
			case ok:
				committed.Add(1)
			case errors.Is(err, dtc.ErrRolledBack):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	settle(t, c)
	sum := int64(0)
	for i, b := range list {
		all[i].(*dtctest.Flaky).DeliverLate(t.Context())
		if held := b.Prepared(); len(held) != 0 {
			t.Errorf("%s still holds %d branches", b.ID(), len(held))
		}
		sum += b.balance.Load()
	}
	closed(t, c)
	t.Logf("%d committed, %d refused", committed.Load(), refused.Load())
	if sum != accounts*start || committed.Load() == 0 || refused.Load() == 0 {
		t.Errorf("the sum is %d, want %d", sum, accounts*start)
	}
}

// TestDeadParticipant: ten thousand transactions wait for a participant that is
// gone, and the others run on. When it answers again all are finished within two
// seconds.
func TestDeadParticipant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		list := services("dead", "alive")
		var down atomic.Bool
		var calls atomic.Int64
		var back atomic.Int64 // when it answered first
		dead := dtc.ParticipantFuncs{
			ParticipantID: "dead", PrepareFunc: list[0].Prepare, InDoubtFunc: list[0].InDoubt,
			CommitFunc: func(ctx context.Context, b dtc.Branch) error {
				if down.Load() {
					calls.Add(1)
					return dtc.NoAnswer(errors.New("connection refused"))
				}
				back.CompareAndSwap(0, time.Now().UnixNano())
				return list[0].Commit(ctx, b)
			},
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{dead, list[1]}, CompletionWait: -1})
		down.Store(true)
		var wg sync.WaitGroup
		for w := range 50 {
			wg.Go(func() {
				for i := range n / 50 {
					if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint(w, "-", i)), branches("dead", "alive")...); !ok {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if got := c.Stats().Unfinished; got != n {
			t.Fatalf("%d transactions wait, want %d", got, n)
		}
		calls.Store(0)
		time.Sleep(10 * time.Minute)
		if got := calls.Load(); got < 10 || got > 200 {
			t.Errorf("%d calls in ten minutes to a participant that is down; want single probes", got)
		}
		for i := range 100 { // the others run on
			if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("other", i)), branches("alive")...); !ok {
				t.Fatal(err)
			}
		}
		down.Store(false)
		settle(t, c)
		if took := time.Since(time.Unix(0, back.Load())); took > 2*time.Second {
			t.Errorf("finished %v after its first answer", took)
		}
		closed(t, c)
		if got := list[0].Counts().Committed; got != n {
			t.Errorf("it committed %d of %d", got, n)
		}
	})
}

// TestHungCall: a prepare that ignores its context does not keep the transaction
// from aborting; it is rolled back beside the call, and once more after it.
func TestHungCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		rollbacks := 0
		list := services("ok")
		hung := dtc.ParticipantFuncs{
			ParticipantID: "hung",
			PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
				<-release
				return dtc.VoteCommit, nil
			},
			RollbackFunc: func(context.Context, dtc.Branch) error { rollbacks++; return nil },
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{hung, list[0]}})
		began := time.Now()
		_, err := c.Execute(t.Context(), "t", branches("hung", "ok")...)
		if !errors.Is(err, dtc.ErrRolledBack) || time.Since(began) > 7*time.Second {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(time.Minute)
		if rollbacks != 1 || c.Stats().Unfinished != 1 {
			t.Fatalf("%d rollbacks beside the call, %d unfinished", rollbacks, c.Stats().Unfinished)
		}
		close(release)
		settle(t, c)
		closed(t, c)
		if rollbacks != 2 {
			t.Errorf("%d rollbacks, want one more after the call returned", rollbacks)
		}
	})
}
