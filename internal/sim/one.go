package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// one is a participant that commits in one phase or in two, over storage that is
// durable. A call works as long as it likes without holding anything; what it does it
// does in one step at its end, in which everything is looked at anew. So calls of one
// branch need not wait for each other, and a crash loses what has not come to that step.
type one struct {
	*party
	able   atomic.Bool // see [settings.turning]
	mu     sync.Mutex
	rows   map[dtc.XID]*oneRow
	proofs map[proofKey]proof
	fences map[dtc.LogID]uint32  // the latest incarnation that was heard of
	low    map[dtc.LogID]dtc.XID // low water
	below  map[dtc.LogID]dtc.XID // of older ones the evidence may have been dropped
}

// oneRow is a branch.
type oneRow struct {
	state dtctest.State
	cause error // of an abort
}

type proofKey struct {
	log dtc.LogID
	id  dtc.TxID
	xid dtc.XID // zero unless it sins
}

// proof is the evidence that an id was committed in one phase.
type proof struct {
	xid     dtc.XID
	last    dtc.XID // the latest that it was the answer for
	request [16]byte
	vote    dtc.Vote
	at      time.Duration
}

func (e proof) serves(b dtc.Branch) bool {
	none := [16]byte{}
	return b.Fingerprint == none || e.request == none || e.request == b.Fingerprint
}

func newOneParty(w *world, id string) *party {
	o := &one{
		party: &party{w: w, id: id, listing: true}, rows: map[dtc.XID]*oneRow{}, proofs: map[proofKey]proof{},
		fences: map[dtc.LogID]uint32{}, low: map[dtc.LogID]dtc.XID{}, below: map[dtc.LogID]dtc.XID{},
	}
	o.able.Store(true)
	o.once = &abilities{OnePhaser: o, proof: func(log dtc.LogID, id dtc.TxID) dtc.XID {
		x, _ := o.Prove(context.Background(), log, id) // it has no error
		return x
	}}
	o.crash, o.restart = func() {}, o.turn
	o.state, o.prepared = o.row, o.held
	o.server, o.lister = o, o
	o.begin()
	return o.party
}

// turn lets it be able to commit in one phase now and not then, if the run has that.
func (o *one) turn() {
	if o.w.plan.turning {
		o.able.Store(o.w.chance(0.5))
	}
}

func (o *one) row(x dtc.XID) dtctest.State {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.rows[x]; r != nil {
		return r.state
	}
	return dtctest.Unknown
}

func (o *one) held() (list []dtc.XID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for x, r := range o.rows {
		if r.state == dtctest.Prepared {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b dtc.XID) int {
		if a.Log != b.Log {
			return slices.Compare(a.Log[:], b.Log[:])
		}
		return a.Compare(b)
	})
	return list
}

// ID implements [dtc.Participant].
func (o *one) ID() string { return o.id }

// Listing implements [dtc.Lister].
func (o *one) Listing() bool { return true }

// InDoubt implements [dtc.Lister].
func (o *one) InDoubt(_ context.Context, log dtc.LogID) (list []dtc.InDoubtBranch, err error) {
	for _, x := range o.held() {
		if x.Log == log {
			list = append(list, dtc.InDoubtBranch{XID: x})
		}
	}
	return list, nil
}

// enter notes what a call says beside its request, before anything is answered.
func (o *one) enter(b dtc.Branch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	log, low := b.XID.Log, b.LowWater
	if o.w.sin != noFence {
		o.fences[log] = max(o.fences[log], b.XID.Incarnation.Number)
	}
	if low.IsZero() || low.Log != log || o.low[log].Compare(low) >= 0 {
		return
	}
	o.low[log] = low
	for x, r := range o.rows {
		if x.Log == log && x.Compare(low) < 0 && r.state != dtctest.Prepared {
			delete(o.rows, x)
		}
	}
	if o.w.plan.faults&Forgets != 0 {
		o.drop(log, low)
	}
}

// drop drops the evidence that is old and below low water. The caller holds o.mu.
func (o *one) drop(log dtc.LogID, low dtc.XID) {
	old := o.w.now() - o.w.plan.retention
	for key, e := range o.proofs {
		if key.log == log && e.last.Compare(low) < 0 && e.at < old {
			delete(o.proofs, key)
			o.once.dropped = true
			if o.below[log].Compare(e.last) <= 0 {
				o.below[log] = dtc.XID{Log: log, Incarnation: e.last.Incarnation, Seq: e.last.Seq + 1}
			}
		}
	}
}

func (o *one) isBelow(x dtc.XID) bool { return x.Compare(o.low[x.Log]) < 0 }

func (o *one) key(b dtc.Branch) proofKey {
	k := proofKey{log: b.XID.Log, id: b.TxID}
	if o.w.sin == evidenceByXID {
		k.xid = b.XID
	}
	return k
}

// Prepare implements [dtc.Participant].
func (o *one) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	o.enter(b)
	if err := o.work(ctx, "prepare"); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	vote, err := o.vote(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rows[b.XID]
	e, proven := o.proofs[o.key(b)]
	switch {
	case r != nil:
	case o.isBelow(b.XID):
		return dtc.VoteAbort, errors.New("below low water")
	case proven && e.serves(b):
		r = &oneRow{state: dtctest.ReadOnly}
	case proven:
		r = &oneRow{dtctest.Aborted, conflicts(b)}
	case vote == dtc.VoteCommit:
		r = &oneRow{state: dtctest.Prepared}
	case vote == dtc.VoteReadOnly:
		r = &oneRow{state: dtctest.ReadOnly}
	default:
		r = &oneRow{dtctest.Aborted, err}
	}
	o.rows[b.XID] = r
	return r.answer()
}

// answer is the vote that a row stands for.
func (r *oneRow) answer() (dtc.Vote, error) {
	switch r.state {
	case dtctest.Prepared, dtctest.Committed:
		return dtc.VoteCommit, nil
	case dtctest.ReadOnly:
		return dtc.VoteReadOnly, nil
	case dtctest.RolledBack:
		return dtc.VoteAbort, dtc.Refuse(errors.New("it was rolled back"))
	case dtctest.Aborted, dtctest.Unknown:
	}
	return dtc.VoteAbort, r.cause
}

func conflicts(b dtc.Branch) error {
	return dtc.Refuse(fmt.Errorf("%w: %s was committed for another request", dtc.ErrTxConflict, b.TxID))
}

// Commit implements [dtc.Participant].
func (o *one) Commit(ctx context.Context, b dtc.Branch) error {
	o.enter(b)
	if err := o.work(ctx, "commit"); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rows[b.XID]
	switch {
	case r == nil && o.isBelow(b.XID):
		return nil
	case r == nil:
		return dtc.ErrUnknownBranch
	case r.state == dtctest.Prepared:
		r.state = dtctest.Committed
	case r.state != dtctest.Committed && r.state != dtctest.ReadOnly:
		return &dtc.FinishedError{Outcome: dtc.RolledBack}
	}
	return nil
}

// Rollback implements [dtc.Participant].
func (o *one) Rollback(ctx context.Context, b dtc.Branch) error {
	o.enter(b)
	if err := o.work(ctx, "rollback"); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rows[b.XID]
	switch {
	case r == nil && !o.isBelow(b.XID):
		o.rows[b.XID] = &oneRow{state: dtctest.RolledBack}
	case r == nil:
	case r.state == dtctest.Committed:
		return &dtc.FinishedError{Outcome: dtc.Committed}
	case r.state == dtctest.Prepared:
		r.state = dtctest.RolledBack
	}
	return nil
}
