package dtctest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
)

// memorySubject is the well-behaved participant with everything the suite can
// look at.
func memorySubject() (Subject, *Memory) {
	m := NewMemory("memory")
	var mu sync.Mutex
	applied := map[dtc.XID]int{}
	m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		switch string(b.Payload) {
		case "abort":
			return dtc.VoteAbort, nil
		case "read-only":
			return dtc.VoteReadOnly, nil
		}
		return dtc.VoteCommit, nil
	}
	m.OnCommit = func(_ context.Context, b dtc.Branch) error {
		mu.Lock()
		defer mu.Unlock()
		applied[b.XID]++
		return nil
	}
	return Subject{
		Participant:  m,
		PayloadAbort: []byte("abort"), PayloadReadOnly: []byte("read-only"),
		Effect: func(x dtc.XID) (Effect, error) {
			mu.Lock()
			defer mu.Unlock()
			return Effect{Held: m.State(x) == Prepared, Applied: applied[x]}, nil
		},
		Restart: func() (dtc.Participant, error) {
			m.Crash()
			m.Restart(true)
			return m, nil
		},
		Rows: func(log dtc.LogID) (int, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			n := 0
			for x := range m.rows {
				if x.Log == log {
					n++
				}
			}
			return n, nil
		},
		Prune:  func(context.Context) error { return nil },
		Rounds: 5,
	}, m
}

func TestMemoryConforms(t *testing.T) {
	TestParticipant(t, func(*testing.T) Subject {
		s, _ := memorySubject()
		return s
	})
}

// recorder stands in for a test.
type recorder struct {
	mu      sync.Mutex
	errors  []string
	skipped bool
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(string, ...any) {
	r.skipped = true
	runtime.Goexit()
}

// judge runs one promise and returns what it complains about.
func judge(t *testing.T, name string, s Subject) *recorder {
	t.Helper()
	return judgeOne(t, ParticipantPromises(), name, s)
}

func judgeOne(t *testing.T, promises []Promise, name string, s Subject) *recorder {
	t.Helper()
	r := &recorder{}
	for _, p := range promises {
		if strings.Contains(p.Name, name) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				p.Check(r, s)
			}()
			<-done
			return r
		}
	}
	t.Fatalf("no promise %q", name)
	return nil
}

// broken overrides methods of a good participant.
type broken struct {
	*Memory
	prepare          func(ctx context.Context, b dtc.Branch) (dtc.Vote, error)
	commit, rollback func(ctx context.Context, b dtc.Branch) error
	inDoubt          func(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error)
}

func (p *broken) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if p.prepare != nil {
		return p.prepare(ctx, b)
	}
	return p.Memory.Prepare(ctx, b)
}

func (p *broken) Commit(ctx context.Context, b dtc.Branch) error {
	if p.commit != nil {
		return p.commit(ctx, b)
	}
	return p.Memory.Commit(ctx, b)
}

func (p *broken) Rollback(ctx context.Context, b dtc.Branch) error {
	if p.rollback != nil {
		return p.rollback(ctx, b)
	}
	return p.Memory.Rollback(ctx, b)
}

func (p *broken) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	if p.inDoubt != nil {
		return p.inDoubt(ctx, log)
	}
	return p.Memory.InDoubt(ctx, log)
}

// Every promise, broken. The suite must complain about each, and must not about
// the participant before it was broken.
var breakages = []struct {
	name, promise string
	how           func(s *Subject, m *Memory, p *broken)
}{
	{"refuses a prepare it has seen", "a prepare that is repeated", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			if m.State(b.XID) == Prepared {
				return dtc.VoteAbort, errors.New("duplicate key")
			}
			return m.Prepare(ctx, b)
		}
	}},
	{"commits as often as it is told", "a commit that is repeated", func(_ *Subject, m *Memory, p *broken) {
		p.commit = func(ctx context.Context, b dtc.Branch) error {
			if err := m.Commit(ctx, b); err != nil {
				return err
			}
			return m.OnCommit(ctx, b)
		}
	}},
	{"fails a repeated rollback", "a rollback that is repeated", func(s *Subject, m *Memory, p *broken) {
		s.Timeout = 50 * time.Millisecond
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			if m.State(b.XID) == RolledBack {
				return errors.New("no such branch")
			}
			return m.Rollback(ctx, b)
		}
	}},
	{"keeps what it rolled back", "a rollback that is repeated", func(_ *Subject, _ *Memory, p *broken) {
		p.rollback = func(context.Context, dtc.Branch) error { return nil }
	}},
	{"leaves no tombstone", "after a rollback a late prepare", func(_ *Subject, m *Memory, p *broken) {
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			if m.State(b.XID) == Unknown {
				return nil
			}
			return m.Rollback(ctx, b)
		}
	}},
	{"does not wait for the prepare it rolls back", "overtakes its prepare", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			time.Sleep(5 * time.Millisecond) // looked before, writes after
			m.mu.Lock()
			delete(m.rows, b.XID)
			m.mu.Unlock()
			return m.Prepare(ctx, b)
		}
	}},
	{"acknowledges the commit of anything", "a commit of an unknown branch", func(_ *Subject, m *Memory, p *broken) {
		p.commit = func(ctx context.Context, b dtc.Branch) error {
			if err := m.Commit(ctx, b); !errors.Is(err, dtc.ErrUnknownBranch) {
				return err
			}
			return nil
		}
	}},
	{"claims to have rolled back what it never saw", "a commit of an unknown branch", func(_ *Subject, m *Memory, p *broken) {
		p.commit = func(ctx context.Context, b dtc.Branch) error {
			if err := m.Commit(ctx, b); !errors.Is(err, dtc.ErrUnknownBranch) {
				return err
			}
			return &dtc.FinishedError{Outcome: dtc.RolledBack}
		}
	}},
	{"acknowledges the rollback of what it committed", "does not finish the other way", func(_ *Subject, m *Memory, p *broken) {
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			_ = m.Rollback(ctx, b)
			return nil
		}
	}},
	{"acknowledges the commit of what it rolled back", "does not finish the other way", func(_ *Subject, m *Memory, p *broken) {
		p.commit = func(ctx context.Context, b dtc.Branch) error {
			_ = m.Commit(ctx, b)
			return nil
		}
	}},
	{"forgets that it voted abort", "voted abort holds nothing", func(_ *Subject, m *Memory, p *broken) {
		seen := map[dtc.XID]bool{}
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			if seen[b.XID] {
				return dtc.VoteCommit, nil
			}
			seen[b.XID] = true
			return m.Prepare(ctx, b)
		}
	}},
	{"holds what it refused", "voted abort holds nothing", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.Payload = nil
			_, err := m.Prepare(ctx, b)
			return dtc.VoteAbort, err
		}
	}},
	{"holds what it called read-only", "voted read-only holds nothing", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			b.Payload = nil
			_, err := m.Prepare(ctx, b)
			return dtc.VoteReadOnly, err
		}
	}},
	{"forgets its votes in a restart", "survives a restart", func(s *Subject, m *Memory, p *broken) {
		s.Restart = func() (dtc.Participant, error) {
			m.Crash()
			m.Restart(false)
			return p, nil
		}
	}},
	{"lists one too few", "the listing of what is in doubt", func(_ *Subject, m *Memory, p *broken) {
		p.inDoubt = func(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
			list, err := m.InDoubt(ctx, log)
			return list[:max(0, len(list)-1)], err
		}
	}},
	{"lists finished branches", "the listing of what is in doubt", func(_ *Subject, m *Memory, p *broken) {
		p.inDoubt = func(_ context.Context, log dtc.LogID) (list []dtc.InDoubtBranch, err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for x := range m.rows {
				list = append(list, dtc.InDoubtBranch{XID: x})
			}
			return list, nil
		}
	}},
	{"looks first and writes later", "copies of one call at the same time", func(_ *Subject, m *Memory, p *broken) {
		p.commit = func(ctx context.Context, b dtc.Branch) error {
			prepared := m.State(b.XID) == Prepared
			time.Sleep(time.Millisecond)
			if prepared {
				_ = m.OnCommit(ctx, b)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.rows[b.XID].state = Committed
			return nil
		}
	}},
	{"drops prepared rows below low water", "low water drops finished branches only", func(_ *Subject, m *Memory, p *broken) {
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			err := m.Rollback(ctx, b)
			m.mu.Lock()
			defer m.mu.Unlock()
			for x := range m.rows {
				if m.isBelow(x) {
					delete(m.rows, x)
				}
			}
			return err
		}
	}},
	{"drops tombstones and forgets low water", "low water drops finished branches only", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			m.mu.Lock()
			clear(m.lowWater)
			m.mu.Unlock()
			return m.Prepare(ctx, b)
		}
	}},
	{"refuses to repeat the vote of a prepared row below low water", "low water drops finished branches only", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			m.mu.Lock()
			below := m.isBelow(b.XID)
			m.mu.Unlock()
			if below {
				return dtc.VoteAbort, errors.New("too late")
			}
			return m.Prepare(ctx, b)
		}
	}},
	{"keeps every row for ever", "rows below low water go", func(_ *Subject, m *Memory, p *broken) {
		p.rollback = func(ctx context.Context, b dtc.Branch) error {
			b.LowWater = dtc.XID{}
			return m.Rollback(ctx, b)
		}
	}},
	{"drops rows above low water", "rows below low water go", func(_ *Subject, m *Memory, p *broken) {
		p.commit = func(ctx context.Context, b dtc.Branch) error {
			err := m.Commit(ctx, b)
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.rows, b.XID)
			return err
		}
	}},
	{"applies one log's low water to all", "the branches of another log", func(_ *Subject, m *Memory, p *broken) {
		p.prepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			m.mu.Lock()
			for _, lw := range m.lowWater {
				if b.XID.Compare(lw) < 0 && m.rows[b.XID] == nil {
					m.mu.Unlock()
					return dtc.VoteAbort, errors.New("too late")
				}
			}
			m.mu.Unlock()
			return m.Prepare(ctx, b)
		}
	}},
	{"lists every log's branches", "the branches of another log", func(_ *Subject, m *Memory, p *broken) {
		p.inDoubt = func(context.Context, dtc.LogID) (list []dtc.InDoubtBranch, err error) {
			for _, x := range m.Prepared() {
				list = append(list, dtc.InDoubtBranch{XID: x})
			}
			return list, nil
		}
	}},
}

func TestSuiteCatchesEveryBrokenPromise(t *testing.T) {
	caught := map[string]bool{}
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			s, m := memorySubject()
			p := &broken{Memory: m}
			s.Participant = p
			if r := judge(t, b.promise, s); len(r.errors) > 0 || r.skipped {
				t.Fatalf("the unbroken participant fails, or was not checked: %q", r.errors)
			}
			s, m = memorySubject()
			p = &broken{Memory: m}
			s.Participant = p
			b.how(&s, m, p)
			if r := judge(t, b.promise, s); len(r.errors) == 0 {
				t.Error("the suite did not notice")
			}
		})
		for _, p := range ParticipantPromises() {
			if strings.Contains(p.Name, b.promise) {
				caught[p.Name] = true
			}
		}
	}
	tally.Add(t, "conformance", "broken participants in Go, each found out", int64(len(breakages)), 20)
	for _, p := range ParticipantPromises() {
		if !caught[p.Name] {
			t.Errorf("no broken participant shows that the suite checks: %s", p.Name)
		}
		if p.Why == "" {
			t.Errorf("does not say why it matters: %s", p.Name)
		}
	}
}

// A bare participant can be checked for what its answers tell.
func TestSuiteWithoutObserver(t *testing.T) {
	skipped := 0
	for _, p := range ParticipantPromises() {
		m := NewMemory("bare")
		m.Plain = true
		r := judge(t, p.Name, Subject{Participant: m, Rounds: 2})
		if len(r.errors) > 0 {
			t.Errorf("%s: %q", p.Name, r.errors)
		}
		if r.skipped {
			skipped++
		}
	}
	if skipped != 5 {
		t.Errorf("%d promises skipped, want 5: two votes, restart, listing, rows", skipped)
	}
}
