package dtctest

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// txKey names a transaction of one log, whatever its XID.
type txKey struct {
	log dtc.LogID
	id  dtc.TxID
}

func keyOf(b dtc.Branch) txKey { return txKey{b.XID.Log, b.TxID} }

// memoryEvidence says that an id was committed in one phase.
type memoryEvidence struct {
	xid     dtc.XID
	request [16]byte
	vote    dtc.Vote
}

// serves reports whether the evidence is that of b's request, as far as b tells.
func (e memoryEvidence) serves(b dtc.Branch) bool {
	none := [16]byte{}
	return b.Fingerprint == none || e.request == none || b.Fingerprint == e.request
}

// CanOnePhase implements [dtc.OnePhaser].
func (m *Memory) CanOnePhase(dtc.Branch) bool { return m.OnePhase }

// raiseFence notes the incarnation of x: earlier ones cannot begin to commit in one phase
// any more.
func (m *Memory) raiseFence(x dtc.XID) {
	m.fences[x.Log] = max(m.fences[x.Log], x.Incarnation.Number)
}

// busy returns what b has to wait for: a call for the same branch, and commits in one phase
// of the same id, or of an earlier incarnation, which the fence came too late for.
func (m *Memory) busy(b dtc.Branch) chan struct{} {
	if r := m.rows[b.XID]; r != nil && r.busy != nil {
		return r.busy
	}
	var found chan struct{}
	var first dtc.XID // of several the first one, so that a seed finds the same again
	for r, other := range m.running {
		if other.XID.Log != b.XID.Log || other.TxID != b.TxID && other.XID.Incarnation.Number >= b.XID.Incarnation.Number {
			continue
		}
		if found == nil || other.XID.Compare(first) < 0 {
			found, first = r.busy, other.XID
		}
	}
	return found
}

// doneBefore answers the first prepare of an id that was committed in one phase under
// another XID: with a row that holds nothing, or nil if the branch is to be prepared.
func (m *Memory) doneBefore(b dtc.Branch) *memoryRow {
	e, ok := m.evidence[keyOf(b)]
	if !ok || e.xid == b.XID {
		return nil
	}
	r := &memoryRow{state: ReadOnly}
	if e.serves(b) {
		m.counts.ReadOnly++
	} else {
		r.state, r.cause = Aborted, conflict(b)
		m.counts.Aborted++
	}
	m.rows[b.XID] = r
	return r
}

func conflict(b dtc.Branch) error {
	return dtc.Refuse(fmt.Errorf("dtctest: %w: %s was committed for another request", dtc.ErrTxConflict, b.TxID))
}

// CommitOnePhase implements [dtc.OnePhaser]. OnPrepare votes and OnCommit does the work; an
// error of OnCommit says that nothing was done; then OnRollback gives back what OnPrepare has
// taken, and the same call may come again.
func (m *Memory) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	r, err := m.enter(ctx, b)
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if e, ok := m.evidence[keyOf(b)]; ok {
		defer m.mu.Unlock()
		if !e.serves(b) {
			if r == nil && !m.isBelow(b.XID) { // also when the evidence is gone
				m.rows[b.XID] = &memoryRow{state: Aborted, cause: conflict(b)}
				m.counts.Aborted++
			}
			return dtc.VoteAbort, conflict(b)
		}
		return e.vote, nil
	}
	if r == nil {
		if err := m.tooLate(b.XID); err != nil {
			m.mu.Unlock()
			return dtc.VoteAbort, err
		}
		return m.firstOnePhase(ctx, b)
	}
	defer m.mu.Unlock()
	switch r.state {
	case Committed:
		return dtc.VoteCommit, nil
	case ReadOnly:
		return dtc.VoteReadOnly, nil
	case RolledBack:
		return dtc.VoteAbort, dtc.Refuse(errors.New("dtctest: already rolled back"))
	case Prepared:
		return dtc.VoteAbort, errors.New("dtctest: prepared, to be committed in two phases")
	case Aborted, Unknown:
	}
	return dtc.VoteAbort, r.cause
}

// tooLate refuses a branch that no row stands for. Neither error is [dtc.Refuse]: the
// evidence may have been dropped.
func (m *Memory) tooLate(x dtc.XID) error {
	if m.isBelow(x) {
		return errors.New("dtctest: below low water")
	}
	if x.Incarnation.Number < m.fences[x.Log] {
		return errors.New("dtctest: of an earlier incarnation")
	}
	return nil
}

func (m *Memory) firstOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	r := &memoryRow{onePhase: true}
	m.rows[b.XID] = r
	vote := dtc.VoteCommit
	var hook func() error
	if m.OnPrepare != nil {
		hook = func() (err error) {
			vote, err = m.OnPrepare(ctx, b)
			return err
		}
	}
	err := m.work(b, r, hook) // m.mu is not held if it panics
	switch {
	case errors.Is(err, dtc.ErrNoAnswer), err != nil && ctx.Err() != nil:
		m.forget(b.XID, r)
		vote, err = dtc.VoteAbort, dtc.NoAnswer(err)
	case err != nil, vote == dtc.VoteAbort:
		vote, r.state, r.cause = dtc.VoteAbort, Aborted, err
		m.counts.Aborted++
	default:
		err = m.apply(ctx, b, r, vote)
	}
	defer m.mu.Unlock()
	if err != nil {
		return dtc.VoteAbort, err
	}
	return vote, nil
}

// apply does the work that was voted for, or gives back what the vote has taken.
func (m *Memory) apply(ctx context.Context, b dtc.Branch, r *memoryRow, vote dtc.Vote) error {
	if vote == dtc.VoteCommit && m.OnCommit != nil {
		err := m.work(b, r, func() error { return m.OnCommit(ctx, b) })
		if err != nil {
			if m.OnRollback != nil {
				err = errors.Join(err, m.work(b, r, func() error { return m.OnRollback(ctx, b) }))
			}
			m.forget(b.XID, r)
			return err
		}
	}
	m.prove(b, r, vote)
	return nil
}

// prove keeps the evidence, in the same step in which the work is seen done.
func (m *Memory) prove(b dtc.Branch, r *memoryRow, vote dtc.Vote) {
	m.evidence[keyOf(b)] = memoryEvidence{xid: b.XID, request: b.Fingerprint, vote: vote}
	m.counts.OnePhase++
	if vote == dtc.VoteReadOnly {
		r.state = ReadOnly
		m.counts.ReadOnly++
		return
	}
	r.state = Committed
	m.counts.Committed++
}

// Settle implements [dtc.OnePhaser]. It waits for a CommitOnePhase that is under way.
func (m *Memory) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	r, err := m.enter(ctx, b)
	if err != nil {
		return dtc.OutcomeUnknown, err
	}
	if r != nil && r.state == Prepared {
		if err := m.finish(ctx, b, r, RolledBack, m.OnRollback); err != nil {
			return dtc.OutcomeUnknown, err
		}
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	e, ok := m.evidence[keyOf(b)]
	switch {
	case ok && (e.xid == b.XID || e.serves(b)):
		return dtc.Committed, nil
	case r == nil:
		return m.seal(b.XID), nil
	case r.state == Committed:
		return dtc.Committed, nil
	}
	return dtc.RolledBack, nil
}

// seal makes a branch that never came, or is forgotten, unable to commit.
func (m *Memory) seal(x dtc.XID) dtc.Outcome {
	if d, ok := m.dropped[x.Log]; ok && x.Compare(d) < 0 {
		return dtc.OutcomeUnknown
	}
	if !m.isBelow(x) {
		m.rows[x] = &memoryRow{state: RolledBack}
		m.counts.Tombstones++
	}
	return dtc.RolledBack
}

// Prove implements [dtc.OnePhaser].
func (m *Memory) Prove(_ context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return dtc.XID{}, ErrDown
	}
	return m.evidence[txKey{log, id}].xid, nil
}

// DropEvidence does to a log what low water and long waiting do to the branches below it: it
// drops their evidence and finished rows. Settle answers [dtc.OutcomeUnknown] for
// those that are not known any more. Otherwise evidence is kept for ever.
func (m *Memory) DropEvidence(lowWater dtc.XID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(dtc.Branch{XID: lowWater, LowWater: lowWater})
	for key, e := range m.evidence {
		if key.log == lowWater.Log && e.xid.Compare(lowWater) < 0 {
			delete(m.evidence, key)
		}
	}
	if m.dropped[lowWater.Log].Compare(lowWater) < 0 {
		m.dropped[lowWater.Log] = lowWater
	}
}
