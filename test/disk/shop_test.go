package disk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// verdict is what a caller was told.
type verdict string

const (
	committed  verdict = "committed"
	rolledBack verdict = "rolled back"
	inDoubt    verdict = "in doubt"
	refused    verdict = "refused" // nothing was begun
)

// shop is the participants, which outlive every coordinator, and what was told
// about each transaction.
type shop struct {
	t     *testing.T
	dir   string
	opts  wal.Options
	parts []*dtctest.Memory

	mu      sync.Mutex
	told    map[dtc.TxID]verdict
	asked   map[dtc.TxID]int            // prepares that came
	applied map[string]map[dtc.TxID]int // commits with effect, by participant
	next    int
}

// newShop returns a shop whose log is in dir, in small segments that are
// compacted all the time.
func newShop(t *testing.T, dir string) *shop {
	s := &shop{
		t: t, dir: dir, opts: wal.Options{SegmentSize: 4 << 10, CheckpointAfter: 1},
		told: map[dtc.TxID]verdict{}, asked: map[dtc.TxID]int{}, applied: map[string]map[dtc.TxID]int{},
	}
	for _, id := range []string{"stock", "payment", "plain"} {
		p := dtctest.NewMemory(id)
		p.Plain = id == "plain" // costs a forced prepare record
		s.applied[id] = map[dtc.TxID]int{}
		p.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked[b.TxID]++
			if id == "payment" && string(b.Payload) == "too much" {
				return dtc.VoteAbort, nil
			}
			return dtc.VoteCommit, nil
		}
		p.OnCommit = func(_ context.Context, b dtc.Branch) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.applied[id][b.TxID]++
			return nil
		}
		s.parts = append(s.parts, p)
	}
	return s
}

// open opens the log and a coordinator over it. With an error nothing is open.
func (s *shop) open() (*dtc.Coordinator, *wal.Log, error) {
	log, err := wal.Open(s.dir, &s.opts)
	if err != nil {
		return nil, nil, err
	}
	c, err := dtc.OpenLog(log, s.config())
	if err != nil {
		_ = log.Close()
		return nil, nil, err
	}
	return c, log, nil
}

func (s *shop) config() *dtc.Config {
	cfg := &dtc.Config{
		Logger: slog.New(slog.DiscardHandler), SweepInterval: 20 * time.Millisecond,
		Timing: dtc.Timing{
			Backoff: time.Millisecond, FinishBackoffCap: 10 * time.Millisecond,
			PrepareTimeout: patience, PrepareAttempt: patience, // a slow machine aborts nothing
		},
	}
	for _, p := range s.parts {
		cfg.Participants = append(cfg.Participants, p)
	}
	return cfg
}

// work runs n transactions, some at the same time.
func (s *shop) work(c *dtc.Coordinator, n int) {
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range n / 3 {
				_, _ = s.one(c)
			}
		})
	}
	wg.Wait()
}

// one runs one transaction and notes what was told.
func (s *shop) one(c *dtc.Coordinator) (verdict, error) {
	s.mu.Lock()
	s.next++
	number := s.next
	s.mu.Unlock()
	id := dtc.TxID(fmt.Sprintf("order-%d", number))
	return s.execute(c, id, request(number))
}

// request returns the branches of a transaction: a few have a participant that
// cannot list, a few are too much for one.
func request(number int) []dtc.Branch {
	b := []dtc.Branch{{Participant: "stock", Payload: []byte("one")}, {Participant: "payment", Payload: []byte("enough")}}
	switch number % 5 {
	case 1:
		b = append(b, dtc.Branch{Participant: "plain", Payload: []byte("letter")})
	case 2:
		b[1].Payload = []byte("too much")
	}
	return b
}

func (s *shop) execute(c *dtc.Coordinator, id dtc.TxID, branches []dtc.Branch) (verdict, error) {
	ok, err := c.ExecuteWith(s.t.Context(), id, &dtc.TxOptions{CompletionWait: -1}, branches...)
	v := s.verdictOf(ok, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.told[id]; old == committed && v != committed {
		s.t.Errorf("%s: told %s after it was told committed", id, v)
	}
	s.told[id] = v
	if v == refused && s.asked[id] > 0 && !errors.Is(err, dtc.ErrLogFailed) {
		s.t.Errorf("%s: refused, but participants were asked: %v", id, err)
	}
	return v, err
}

func (s *shop) verdictOf(ok bool, err error) verdict {
	switch {
	case ok && err == nil:
		return committed
	case errors.Is(err, dtc.ErrInDoubt):
		return inDoubt
	case errors.Is(err, dtc.ErrRolledBack):
		return rolledBack
	case errors.Is(err, dtc.ErrLogFailed):
		return refused
	case errors.Is(err, dtc.ErrFull) && errors.Is(err, txlog.ErrNoRoom):
		return refused
	}
	s.t.Errorf("Execute returned %v, %v", ok, err)
	return inDoubt
}

// tellings returns what was told so far.
func (s *shop) tellings() map[dtc.TxID]verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.told)
}

func (s *shop) count(v verdict) (n int) {
	for _, told := range s.tellings() {
		if told == v {
			n++
		}
	}
	return n
}
