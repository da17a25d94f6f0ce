package sim

import (
	"context"
	"errors"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// sin is a promise that the participants of a run which commit in one phase break.
type sin uint8

const (
	noSin         sin = iota
	noFence           // a call of an earlier incarnation may still commit
	sealForgets       // a branch that was settled as rolled back may still commit
	evidenceByXID     // the evidence is kept by XID, and not found by TxID
)

// luck is how the end of a commit in one phase goes.
type luck uint8

const (
	well    luck = iota
	before       // the connection to its books is lost before it,
	after        // or after it;
	between      // or they hear of it later
)

var errBooks = errors.New("the connection to the books was lost")

// CanOnePhase implements [dtc.OnePhaser].
func (o *one) CanOnePhase(dtc.Branch) bool { return o.able.Load() }

// CommitOnePhase implements [dtc.OnePhaser].
func (o *one) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	o.enter(b)
	if err := o.work(ctx, verbOnce); err != nil {
		return dtc.VoteAbort, err
	}
	w, how := o.w, well
	s := ctx.Value(serverKey{}).(*serving)
	if !w.gate(s.life, s.name+": commits", quick, func() {
		if !w.calm && w.chance(w.plan.fail*0.4) {
			how = luck(w.rng.IntN(4))
		}
		if how == between {
			w.post(nil, o.id+"'s books hear of "+s.name, span{time.Millisecond, 5 * time.Second}, func() {
				_, _ = o.commitOnce(b) // nobody hears what came of it
				w.know.survey(o.party)
			})
		}
	}) {
		return dtc.VoteAbort, dtctest.ErrDown
	}
	switch how {
	case after:
		_, _ = o.commitOnce(b)
		return dtc.VoteAbort, errBooks
	case before, between:
		return dtc.VoteAbort, errBooks
	case well:
	}
	return o.commitOnce(b)
}

// commitOnce is the step in which all happens.
func (o *one) commitOnce(b dtc.Branch) (dtc.Vote, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e, ok := o.proofs[o.key(b)]; ok {
		if !e.serves(b) {
			if o.rows[b.XID] == nil && !o.isBelow(b.XID) { // also when the evidence is gone
				o.rows[b.XID] = &oneRow{dtctest.Aborted, conflicts(b)}
			}
			return dtc.VoteAbort, conflicts(b)
		}
		o.served(e, b)
		return e.vote, nil
	}
	r := o.rows[b.XID]
	switch {
	case r != nil && r.state == dtctest.Prepared:
		return dtc.VoteAbort, errors.New("it is prepared, to be committed in two phases")
	case r != nil:
		return r.answer()
	case o.isBelow(b.XID):
		return dtc.VoteAbort, errors.New("below low water")
	case b.XID.Incarnation.Number < o.fences[b.XID.Log]:
		return dtc.VoteAbort, errors.New("of an earlier incarnation")
	}
	vote, err := o.vote(b)
	r = &oneRow{dtctest.Aborted, err}
	switch vote {
	case dtc.VoteCommit:
		r.state = dtctest.Committed
	case dtc.VoteReadOnly:
		r.state = dtctest.ReadOnly
	case dtc.VoteAbort:
	}
	o.rows[b.XID] = r
	if vote != dtc.VoteAbort {
		o.proofs[o.key(b)] = proof{b.XID, b.XID, b.Fingerprint, vote, o.w.now()}
	}
	return vote, err
}

// served notes that evidence answers for one more XID: it is kept as long as that one may
// be asked for. The caller holds o.mu.
func (o *one) served(e proof, b dtc.Branch) {
	if e.last.Compare(b.XID) < 0 {
		e.last = b.XID
	}
	e.at = o.w.now()
	o.proofs[o.key(b)] = e
}

// Settle implements [dtc.OnePhaser].
func (o *one) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	o.enter(b)
	if err := o.work(ctx, verbSettle); err != nil {
		return dtc.OutcomeUnknown, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rows[b.XID]
	e, proven := o.proofs[o.key(b)]
	switch {
	case proven && (e.xid == b.XID || e.serves(b)):
		o.served(e, b)
		return dtc.Committed, nil
	case r == nil && b.XID.Compare(o.below[b.XID.Log]) < 0:
		return dtc.OutcomeUnknown, nil
	case r == nil && !o.isBelow(b.XID) && o.w.sin != sealForgets:
		o.rows[b.XID] = &oneRow{state: dtctest.RolledBack}
	case r == nil:
	case r.state == dtctest.Prepared:
		r.state = dtctest.RolledBack
	case r.state == dtctest.Committed:
		return dtc.Committed, nil
	}
	return dtc.RolledBack, nil
}

// Prove implements [dtc.OnePhaser].
func (o *one) Prove(_ context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w.sin != evidenceByXID {
		return o.proofs[proofKey{log: log, id: id}].xid, nil
	}
	var first dtc.XID
	for key, e := range o.proofs {
		if key.log == log && key.id == id && (first.IsZero() || e.xid.Compare(first) < 0) {
			first = e.xid
		}
	}
	return first, nil
}
