package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
// is drawn at random between nothing and that. Probes of a participant that does not
// answer at all have a lower cap: one call is made, however many wait.
func TestBackoffIsExponential(t *testing.T) {
	gone := fmt.Errorf("%w: gone", dtc.ErrNoAnswer)
	busy := errors.New("busy")
	for name, cap := range map[string]time.Duration{
		"prepare": time.Second, "commit": 30 * time.Second, "rollback": 30 * time.Second,
		"commit/probe": 5 * time.Second, "rollback/probe": 5 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			verb, probe := strings.CutSuffix(name, "/probe")
			trouble := busy
			if probe {
				trouble = gone
			}
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
					CommitFunc:   func(context.Context, dtc.Branch) error { return trouble },
					RollbackFunc: func(context.Context, dtc.Branch) error { return trouble },
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
// the sums are right at rest. A quarter of them takes so little, from accounts that
// nobody else debits, that it must commit, and a quarter more than there is, so
// that it must be refused; how the others end is up to who comes first.
func TestConcurrentTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, accounts, quiet, start = 1000, 8, 2, 500
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
			Timing:       dtc.Timing{Backoff: time.Millisecond, PrepareTimeout: time.Minute, FinishBackoffCap: 50 * time.Millisecond},
		})
		var committed, refused [4]atomic.Int64 // by kind
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				rng, kind := rand.New(rand.NewPCG(uint64(i), 0)), i%4
				from, amount := quiet+rng.IntN(accounts-quiet), 1+rng.IntN(300)
				switch kind {
				case 0:
					from, amount = rng.IntN(quiet), 1
				case 1:
					amount = accounts*start + 1
				}
				to := (from + 1 + rng.IntN(accounts-1)) % accounts
				ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint("transfer-", i)),
					dtc.Branch{Participant: list[from].ID(), Payload: fmt.Append(nil, -amount)},
					dtc.Branch{Participant: list[to].ID(), Payload: fmt.Append(nil, amount)})
				switch {
				case ok:
					committed[kind].Add(1)
				case errors.Is(err, dtc.ErrRolledBack):
					refused[kind].Add(1)
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
			if b.balance.Load() < 0 {
				t.Errorf("%s is overdrawn: %d", b.ID(), b.balance.Load())
			}
			sum += b.balance.Load()
		}
		closed(t, c)
		if sum != accounts*start {
			t.Errorf("the sum is %d, want %d", sum, accounts*start)
		}
		if small, much := committed[0].Load(), refused[1].Load(); small != n/4 || much != n/4 {
			t.Errorf("of %d transfers each, %d that must commit did, and %d that must be refused were", n/4, small, much)
		}
		contended := committed[2].Load() + committed[3].Load()
		t.Logf("of %d transfers that compete %d committed, %d were refused", n/2, contended, refused[2].Load()+refused[3].Load())
		if contended < accounts-quiet { // the first at each account finds enough
			t.Errorf("%d of those that compete committed, want at least one for each of %d accounts", contended, accounts-quiet)
		}
	})
}

// TestDeadParticipant: ten thousand transactions wait for a participant that is
// gone. The others run on meanwhile, without a retry and without waiting for
// anything; and when it answers again all ten thousand are finished at once.
func TestDeadParticipant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, others, workers = 10_000, 2_000, 50
		list := services("dead", "alive", "well")
		var down, back atomic.Bool
		var calls atomic.Int64
		dead := dtc.ParticipantFuncs{
			ParticipantID: "dead", PrepareFunc: list[0].Prepare, InDoubtFunc: list[0].InDoubt,
			CommitFunc: func(ctx context.Context, b dtc.Branch) error {
				if down.Load() {
					calls.Add(1)
					return dtc.NoAnswer(errors.New("connection refused"))
				}
				back.Store(true)
				return list[0].Commit(ctx, b)
			},
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{dead, list[1], list[2]}, CompletionWait: -1})
		down.Store(true)
		var wg sync.WaitGroup
		all := func(name string, n int, ids ...string) {
			for w := range workers {
				wg.Go(func() {
					for i := range n / workers {
						if ok, err := c.Execute(t.Context(), dtc.TxID(fmt.Sprint(name, w, "-", i)), branches(ids...)...); !ok {
							t.Error(err)
						}
					}
				})
			}
		}
		all("waits", n, "dead", "alive")
		all("beside", others, "alive", "well") // while they come
		wg.Wait()
		time.Sleep(time.Minute)
		if got := c.Stats().Unfinished; got != n {
			t.Fatalf("%d transactions wait, want %d", got, n)
		}
		calls.Store(0)
		time.Sleep(10 * time.Minute)
		if got := calls.Load(); got < 10 || got > 300 {
			t.Errorf("%d calls in ten minutes to a participant that is down; want single probes", got)
		}
		probes, began := calls.Load(), time.Now()
		all("after", others, "alive", "well") // while they wait
		wg.Wait()
		synctest.Wait()
		if d := time.Since(began); d != 0 || calls.Load() != probes {
			t.Errorf("the others waited %v, and made %d calls to the dead", d, calls.Load()-probes)
		}
		if got := list[2].Counts(); got.Committed != 2*others || got.Calls > 2*2*others+100 {
			t.Errorf("of %d transactions without the dead one %d committed, in %d calls", 2*others, got.Committed, got.Calls)
		}
		if got := c.Stats().Unfinished; got != n {
			t.Errorf("%d transactions wait, want the same %d", got, n)
		}
		down.Store(false)
		for !back.Load() { // the next probe
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := c.Stats().Unfinished; got != 0 {
			t.Errorf("it answered, and %d transactions wait on", got)
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
