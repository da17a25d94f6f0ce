package dtctest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/dtc-project/dtc"
)

// State is how far a branch has come at a [Memory].
type State string

// The states. The empty one says that the participant never heard of the branch,
// or has dropped it below low water.
const (
	Unknown    State = ""
	Prepared   State = "prepared"
	Committed  State = "committed"
	RolledBack State = "rolled_back"
	Aborted    State = "aborted"
	ReadOnly   State = "read_only"
)

// Counts are the effects that a [Memory] has had: a hundred commits of one
// branch count once.
type Counts struct {
	Prepared, Committed, RolledBack, Aborted, ReadOnly, Tombstones, Pruned int
	// OnePhase are those of Committed and ReadOnly that came in one phase.
	OnePhase int
	// Calls are all calls that reached it, repeats included.
	Calls int
}

// Memory is a well-behaved participant that keeps its branches in memory and
// obeys every promise of [dtc.Participant]: stored votes, tombstones, listing,
// low water. It is for tests of what calls participants. Its zero value is not
// usable; see [NewMemory].
//
// The hooks may be set before the first call. They run without any lock held;
// other calls for the same branch wait for them, as they would for a row lock.
type Memory struct {
	// OnPrepare votes, instead of always VoteCommit. An error is an abort vote
	// that is remembered, unless it is dtc.NoAnswer or the context has ended.
	OnPrepare func(ctx context.Context, b dtc.Branch) (dtc.Vote, error)
	// OnCommit and OnRollback run once with effect for a prepared branch. An
	// error leaves the branch prepared.
	OnCommit, OnRollback func(ctx context.Context, b dtc.Branch) error
	// Plain makes it a participant that cannot list.
	Plain bool
	// NeverBlocks makes it a [dtc.NonBlocking] participant; no hook may wait.
	NeverBlocks bool
	// OnePhase makes it a [dtc.OnePhaser] that takes every branch. Without it only
	// CanOnePhase says no: what was committed before is still known.
	OnePhase bool

	id string

	mu       sync.Mutex
	down     bool
	epoch    int // counts crashes
	rows     map[dtc.XID]*memoryRow
	lowWater map[dtc.LogID]dtc.XID
	running  map[*memoryRow]dtc.Branch // busy with a commit in one phase
	evidence map[txKey]memoryEvidence
	fences   map[dtc.LogID]uint32  // the latest incarnation that was heard of
	dropped  map[dtc.LogID]dtc.XID // below it evidence may be missing
	counts   Counts
}

type memoryRow struct {
	state    State
	cause    error         // of an abort vote
	onePhase bool          // it is being committed in one phase, or was
	busy     chan struct{} // closed when the call that works on the branch is done
}

var (
	_ dtc.Participant = (*Memory)(nil)
	_ dtc.Lister      = (*Memory)(nil)
	_ dtc.NonBlocking = (*Memory)(nil)
	_ dtc.OnePhaser   = (*Memory)(nil)
)

// ErrDown is what a crashed participant answers: nothing.
var ErrDown = dtc.NoAnswer(errors.New("dtctest: participant is down"))

// NewMemory returns a participant of the given id.
func NewMemory(id string) *Memory {
	m := &Memory{id: id, running: map[*memoryRow]dtc.Branch{}}
	m.clear()
	return m
}

// clear forgets everything that is durable.
func (m *Memory) clear() {
	m.rows = map[dtc.XID]*memoryRow{}
	m.lowWater = map[dtc.LogID]dtc.XID{}
	m.evidence = map[txKey]memoryEvidence{}
	m.fences = map[dtc.LogID]uint32{}
	m.dropped = map[dtc.LogID]dtc.XID{}
}

// ID implements [dtc.Participant].
func (m *Memory) ID() string { return m.id }

// Listing implements [dtc.Lister].
func (m *Memory) Listing() bool { return !m.Plain }

// NonBlocking implements the ability of that name.
func (m *Memory) NonBlocking() bool { return m.NeverBlocks }

// enter returns the branch's row, claimed for this call, or nil if none stands
// and none may be made. m.mu is held on return unless there is an error.
func (m *Memory) enter(ctx context.Context, b dtc.Branch) (*memoryRow, error) {
	if b.Participant != m.id || b.XID.IsZero() {
		return nil, fmt.Errorf("dtctest: branch (%q, %q) sent to %q", b.XID, b.Participant, m.id)
	}
	m.mu.Lock()
	m.counts.Calls++
	for {
		if m.down {
			m.mu.Unlock()
			return nil, ErrDown
		}
		m.raiseFence(b.XID)
		busy := m.busy(b)
		if busy == nil {
			m.prune(b)
			return m.rows[b.XID], nil
		}
		m.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		m.mu.Lock()
	}
}

// work runs a hook for the row without the lock, which it holds again when it
// returns; other calls for the branch wait. If the participant crashed meanwhile
// the hook has had no effect.
func (m *Memory) work(b dtc.Branch, r *memoryRow, hook func() error) error {
	if hook == nil {
		return nil
	}
	epoch, busy := m.epoch, make(chan struct{})
	r.busy = busy
	if r.onePhase {
		m.running[r] = b
	}
	m.mu.Unlock()
	returned := false
	done := func() {
		m.mu.Lock()
		r.busy = nil
		delete(m.running, r)
		close(busy)
	}
	defer func() {
		if !returned { // it panicked, and the panic goes on
			done()
			if r.state == Unknown {
				m.forget(b.XID, r)
			}
			m.mu.Unlock()
		}
	}()
	err := hook()
	returned = true
	done()
	if m.epoch != epoch {
		return dtc.NoAnswer(ErrDown)
	}
	return err
}

func (m *Memory) forget(x dtc.XID, r *memoryRow) {
	if m.rows[x] == r { // it may have been restarted without its memory
		delete(m.rows, x)
	}
}

// Prepare implements [dtc.Participant].
func (m *Memory) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	r, err := m.enter(ctx, b)
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if r == nil {
		if m.isBelow(b.XID) {
			m.mu.Unlock()
			return dtc.VoteAbort, errors.New("dtctest: below low water")
		}
		if r = m.doneBefore(b); r == nil {
			return m.firstPrepare(ctx, b)
		}
	}
	defer m.mu.Unlock()
	switch r.state {
	case Prepared, Committed:
		return dtc.VoteCommit, nil
	case ReadOnly:
		return dtc.VoteReadOnly, nil
	case RolledBack:
		return dtc.VoteAbort, errors.New("dtctest: already rolled back")
	case Aborted, Unknown:
	}
	return dtc.VoteAbort, r.cause
}

func (m *Memory) firstPrepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	r := &memoryRow{}
	m.rows[b.XID] = r
	vote := dtc.VoteCommit
	var hook func() error
	if m.OnPrepare != nil {
		hook = func() (err error) {
			vote, err = m.OnPrepare(ctx, b)
			return err
		}
	}
	err := m.work(b, r, hook)
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, dtc.ErrNoAnswer), err != nil && ctx.Err() != nil:
		m.forget(b.XID, r)
		return dtc.VoteAbort, dtc.NoAnswer(err)
	case err != nil, vote == dtc.VoteAbort:
		vote, r.state, r.cause = dtc.VoteAbort, Aborted, err
		m.counts.Aborted++
	case vote == dtc.VoteReadOnly:
		r.state = ReadOnly
		m.counts.ReadOnly++
	default:
		r.state = Prepared
		m.counts.Prepared++
	}
	return vote, err
}

// Commit implements [dtc.Participant].
func (m *Memory) Commit(ctx context.Context, b dtc.Branch) error {
	r, err := m.enter(ctx, b)
	if err != nil {
		return err
	}
	switch {
	case r == nil:
		defer m.mu.Unlock()
		if m.isBelow(b.XID) {
			return nil
		}
		return dtc.ErrUnknownBranch
	case r.state == Prepared:
		return m.finish(ctx, b, r, Committed, m.OnCommit)
	}
	defer m.mu.Unlock()
	if r.state == RolledBack || r.state == Aborted {
		return &dtc.FinishedError{Outcome: dtc.RolledBack}
	}
	return nil
}

// Rollback implements [dtc.Participant].
func (m *Memory) Rollback(ctx context.Context, b dtc.Branch) error {
	r, err := m.enter(ctx, b)
	if err != nil {
		return err
	}
	switch {
	case r == nil:
		defer m.mu.Unlock()
		if !m.isBelow(b.XID) {
			m.rows[b.XID] = &memoryRow{state: RolledBack}
			m.counts.Tombstones++
		}
		return nil
	case r.state == Prepared:
		return m.finish(ctx, b, r, RolledBack, m.OnRollback)
	}
	defer m.mu.Unlock()
	if r.state == Committed {
		return &dtc.FinishedError{Outcome: dtc.Committed}
	}
	return nil
}

func (m *Memory) finish(ctx context.Context, b dtc.Branch, r *memoryRow, to State, on func(context.Context, dtc.Branch) error) error {
	var hook func() error
	if on != nil {
		hook = func() error { return on(ctx, b) }
	}
	err := m.work(b, r, hook)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	r.state = to
	if to == Committed {
		m.counts.Committed++
	} else {
		m.counts.RolledBack++
	}
	return nil
}

// prune notes the low water of b and drops finished rows below it.
func (m *Memory) prune(b dtc.Branch) {
	lw := b.LowWater
	old, ok := m.lowWater[b.XID.Log]
	if lw.IsZero() || lw.Log != b.XID.Log || ok && old.Compare(lw) >= 0 {
		return
	}
	m.lowWater[lw.Log] = lw
	for x, r := range m.rows {
		if x.Log == lw.Log && x.Compare(lw) < 0 && r.state != Prepared && r.busy == nil {
			delete(m.rows, x)
			m.counts.Pruned++
		}
	}
}

func (m *Memory) isBelow(x dtc.XID) bool {
	lw, ok := m.lowWater[x.Log]
	return ok && x.Compare(lw) < 0
}

// InDoubt implements [dtc.Lister].
func (m *Memory) InDoubt(_ context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.down:
		return nil, ErrDown
	case m.Plain:
		return nil, errors.New("dtctest: this participant cannot list")
	}
	var all []dtc.InDoubtBranch
	for _, x := range m.prepared() {
		if x.Log == log {
			all = append(all, dtc.InDoubtBranch{XID: x})
		}
	}
	return all, nil
}

// Crash makes every call fail with [ErrDown] until Restart. A hook that runs now
// will have had no effect.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = true
	m.epoch++
}

// Restart brings it back: with everything it knew, as a database would be, or
// with nothing, as one that kept it in memory, or was restored, would.
func (m *Memory) Restart(remember bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = false
	if !remember {
		m.clear()
	}
}

// State returns how far a branch has come.
func (m *Memory) State(x dtc.XID) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.rows[x]; r != nil {
		return r.state
	}
	return Unknown
}

// Committed reports whether the branch was committed here and still stands.
func (m *Memory) Committed(x dtc.XID) bool { return m.State(x) == Committed }

// Prepared returns what is held in doubt, in a stable order.
func (m *Memory) Prepared() []dtc.XID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.prepared()
}

func (m *Memory) prepared() []dtc.XID {
	var all []dtc.XID
	for x, r := range m.rows {
		if r.state == Prepared {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b dtc.XID) int {
		if a.Log != b.Log {
			return slices.Compare(a.Log[:], b.Log[:])
		}
		return a.Compare(b)
	})
	return all
}

// Rows returns how many branches stand, finished ones included.
func (m *Memory) Rows() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows)
}

// Counts returns what was done so far.
func (m *Memory) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}
