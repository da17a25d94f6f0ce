package dtc_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

var quiet = slog.New(slog.DiscardHandler)

// open opens a coordinator over a log on a simulated disk.
func open(t testing.TB, disk *vfs.Mem, cfg *dtc.Config) *dtc.Coordinator {
	t.Helper()
	c, _, err := tryOpen(disk, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sound(t, disk) })
	return c
}

// sound checks that the log on disk, if there is one, is read the same by two
// decoders that share no code, and that its records can follow one another.
func sound(t testing.TB, disk *vfs.Mem) {
	t.Helper()
	if err := soundness(disk); err != nil {
		t.Error(err)
	}
}

func soundness(disk *vfs.Mem) error {
	res, err := compare.Log("log", disk.Kill()) // without hooks and faults
	if err != nil {
		return err
	}
	if none := (*logcheck.NoLog)(nil); res.SecondRefused != nil && !errors.As(res.SecondRefused, &none) {
		return res.SecondRefused
	}
	return nil
}

func tryOpen(disk *vfs.Mem, cfg *dtc.Config) (*dtc.Coordinator, *wal.Log, error) {
	log, err := wal.Open("log", &wal.Options{FS: disk, SegmentSize: 16 << 10})
	if err != nil {
		return nil, nil, err
	}
	full := *cfg
	if full.Logger == nil {
		full.Logger = quiet
	}
	c, err := dtc.OpenLog(log, &full)
	if err != nil {
		_ = log.Close()
		return nil, nil, err
	}
	return c, log, nil
}

func closed(t testing.TB, c *dtc.Coordinator) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func services(ids ...string) (list []*dtctest.Memory) {
	for _, id := range ids {
		list = append(list, dtctest.NewMemory(id))
	}
	return list
}

func participants[P dtc.Participant](list []P) (all []dtc.Participant) {
	for _, p := range list {
		all = append(all, p)
	}
	return all
}

func branches(ids ...string) (list []dtc.Branch) {
	for _, id := range ids {
		list = append(list, dtc.Branch{Participant: id, Payload: []byte(`{"for":"` + id + `"}`)})
	}
	return list
}

// voting makes a participant of the given vote and error.
func voting(id string, vote dtc.Vote, err error) dtc.Participant {
	return dtc.ParticipantFuncs{
		ParticipantID: id,
		PrepareFunc:   func(context.Context, dtc.Branch) (dtc.Vote, error) { return vote, err },
		InDoubtFunc:   listsNothing,
	}
}

func listsNothing(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, nil }

// recorder notes the steps of the protocol as they happen.
type recorder struct {
	mu    sync.Mutex
	steps []string
	waits map[string][]time.Duration
}

func (r *recorder) add(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, step)
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.steps...)
}

func (r *recorder) trace() *dtc.Trace {
	return &dtc.Trace{
		Appended: func(_ dtc.TraceTx, record string) { r.add("append " + record) },
		Forced:   func(_ dtc.TraceTx, record string, _ time.Duration, _ error) { r.add("forced " + record) },
		Calling:  func(c dtc.TraceCall) { r.add(c.Verb + " " + c.Participant) },
		Decided:  func(_ dtc.TraceTx, o dtc.Outcome, _ dtc.Reason) { r.add("decided " + o.String()) },
		Ended:    func(_ dtc.TraceTx, o dtc.Outcome) { r.add("ended " + o.String()) },
		Retrying: func(c dtc.TraceCall, wait time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.waits == nil {
				r.waits = map[string][]time.Duration{}
			}
			r.waits[c.Verb] = append(r.waits[c.Verb], wait)
		},
	}
}

func (r *recorder) count(step string) (n int) {
	for _, s := range r.all() {
		if s == step {
			n++
		}
	}
	return n
}

// settle waits, in virtual time, until nothing is unfinished.
func settle(t testing.TB, c *dtc.Coordinator) {
	t.Helper()
	for range 10_000 {
		if c.Stats().Unfinished == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for info := range c.Transactions(dtc.Filter{}) {
		t.Logf("unfinished: %+v", info)
	}
	t.Fatal("transactions are still unfinished")
}

// bank is an account at a participant: what is taken is set aside when a branch is
// prepared, what is given is there when it commits.
type bank struct {
	*dtctest.Memory
	balance atomic.Int64
}

func newBank(id string, balance int64, amount func(payload []byte) int64) *bank {
	b := &bank{Memory: dtctest.NewMemory(id)}
	b.balance.Store(balance)
	var mu sync.Mutex // between looking and taking
	var held sync.Map // amounts by XID: the payload comes with prepare only
	b.OnPrepare = func(_ context.Context, br dtc.Branch) (dtc.Vote, error) {
		n := amount(br.Payload)
		mu.Lock()
		defer mu.Unlock()
		if n < 0 {
			if b.balance.Load() < -n {
				return dtc.VoteAbort, nil
			}
			b.balance.Add(n)
		}
		held.Store(br.XID, n)
		return dtc.VoteCommit, nil
	}
	finish := func(committed bool) func(context.Context, dtc.Branch) error {
		return func(_ context.Context, br dtc.Branch) error {
			n, _ := held.LoadAndDelete(br.XID)
			if n := n.(int64); n > 0 == committed {
				b.balance.Add(max(n, -n)) // given for good, or given back
			}
			return nil
		}
	}
	b.OnCommit, b.OnRollback = finish(true), finish(false)
	return b
}
