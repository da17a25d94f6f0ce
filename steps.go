package dtc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
)

// growth is what a transaction has that begins without its branches. It is guarded by
// the transaction's mutex, but for steps, which is set before anybody can find it.
type growth struct {
	steps   bool               // [Coordinator.Begin] began it; otherwise Run did
	claimed bool               // somebody finishes it: nothing is added any more
	giveUp  context.CancelFunc // ends the context given to the function of Run
	expire  *time.Timer        // rolls back one that is grown by steps, when its life is over
}

// NewTxID returns an id that nobody else has: 128 random bits.
func NewTxID() TxID { return TxID("tx-" + strings.ToLower(rand.Text())) }

// Begin begins a transaction that grows by steps: branches are added with
// [Coordinator.Enlist], and [Coordinator.Commit] or [Coordinator.Rollback] ends it. It
// is for those who cannot grow it within a function, as [Coordinator.Run] does, because
// each step is a request of its own. It is rolled back when its lifetime is over
// ([Config.TxLifetime]), when the coordinator is closed, and by a crash; nothing of it
// is in the log before Commit.
//
// The same id while it may still grow is the same transaction, and begun is false.
// After a crash it is a new one, without the branches of the one that was lost: a request
// to begin it that comes late would bring it about unseen. Who has enlisted something
// therefore names the XID in [Branch.XID] and [TxOptions.XID] from then on. An id that
// runs otherwise, or has ended and is remembered, is an [ErrTxConflict]. The
// other errors are [ErrBadRequest], [ErrFull], [ErrClosed] and [ErrLogFailed].
func (c *Coordinator) Begin(id TxID, opts *TxOptions) (info TxInfo, begun bool, err error) {
	life, err := c.lifetime(opts)
	if err != nil {
		return TxInfo{}, false, err
	}
	if err := checkTxID(id); err != nil {
		return TxInfo{}, false, err
	}
	t, join, past, err := c.begin(id, [16]byte{}, nil, nil, &growth{steps: true})
	switch {
	case err != nil:
		return TxInfo{}, false, err
	case past != nil:
		return TxInfo{}, false, fmt.Errorf("%w: %s has ended", ErrTxConflict, id)
	case join && !t.grows():
		return TxInfo{}, false, fmt.Errorf("%w: %s cannot grow any more", ErrTxConflict, id)
	case join:
		return c.describe(t), false, nil
	}
	if f := c.cfg.Trace.Begun; f != nil {
		f(t.trace())
	}
	t.mu.Lock()
	if !t.growth.claimed {
		t.growth.expire = time.AfterFunc(life, t.expired)
	}
	info = t.describe()
	t.mu.Unlock()
	return info, true, nil
}

// Enlist adds a branch to a transaction that [Coordinator.Begin] began. Nothing is
// called yet: with Commit the participant is asked to prepare, with the payload, and
// with Rollback to roll back, because work may have been done for the branch already.
// It returns the XID, under which that work is kept, and whether the branch is new: the
// same participant again with the same payload changes nothing.
//
// The error is [ErrTxConflict] if the payload is another one or the transaction does not
// grow any more, [ErrUnknownTx], [ErrFull], or [ErrBadRequest].
func (c *Coordinator) Enlist(id TxID, b Branch) (x XID, added bool, err error) {
	t, err := c.stepwise(id, b.XID)
	if err != nil {
		return XID{}, false, err
	}
	before, err := t.add(b)
	switch {
	case errors.Is(err, ErrRolledBack):
		return XID{}, false, fmt.Errorf("%w: %s cannot grow any more", ErrTxConflict, id)
	case err != nil:
		return XID{}, false, err
	case before == nil:
		return t.xid, true, nil
	}
	t.mu.Lock()
	same := bytes.Equal(compacted(before.payload), compacted(b.Payload))
	t.mu.Unlock()
	if !same {
		return XID{}, false, fmt.Errorf("%w: %s has a branch at %s with another payload", ErrTxConflict, id, b.Participant)
	}
	return t.xid, false, nil
}

func compacted(payload []byte) []byte {
	if len(payload) == 0 {
		return nil
	}
	return compact(payload)
}

// Commit asks everybody who was enlisted in a transaction that [Coordinator.Begin] began
// to prepare, and finishes it. It describes the transaction as [Coordinator.Transact]
// does, with the same errors; ctx bounds phase one. Asking again joins, or returns what
// is remembered. One without branches is an [ErrBadRequest], and goes on. An id that is
// neither running nor remembered, and of which no participant can prove that it was
// committed in one phase ([Coordinator.Prove]), is an [ErrUnknownTx]: it
// was never begun, or rolled back by a crash, or forgotten; after the log has failed it is
// an [ErrLogFailed]. That of another kind of
// transaction is an [ErrTxConflict].
func (c *Coordinator) Commit(ctx context.Context, id TxID, opts *TxOptions) (TxInfo, error) {
	return c.end(ctx, id, opts, protocol.Begun{}, nil)
}

// Rollback rolls back a transaction that [Coordinator.Begin] began. If it is being
// committed already Rollback waits and describes what became of it. The errors are
// those of [Coordinator.Commit].
func (c *Coordinator) Rollback(ctx context.Context, id TxID, opts *TxOptions) (TxInfo, error) {
	return c.end(ctx, id, opts, protocol.Cancelled{Code: ReasonCancelled}, errors.New("it was rolled back on request"))
}

// end finishes a transaction, beginning with the event, if nobody does yet.
func (c *Coordinator) end(ctx context.Context, id TxID, opts *TxOptions, first protocol.Event, why error) (TxInfo, error) {
	if err := ctx.Err(); err != nil {
		return TxInfo{}, err
	}
	var x XID
	if opts != nil {
		x = opts.XID
	}
	t, past, err := c.bySteps(id, x)
	switch {
	case errors.Is(err, ErrUnknownTx):
		return c.proven(ctx, id, x)
	case err != nil:
		return TxInfo{}, err
	case past != nil:
		return c.recall(id, past), nil
	case why == nil && t.empty():
		return TxInfo{}, fmt.Errorf("%w: %s has no branches; enlist one, or roll it back", ErrBadRequest, id)
	case t.claim(opts, why):
		_, _, err := t.own(ctx, opts, first)
		return c.told(t, err)
	}
	_, err = t.await(ctx)
	return c.told(t, err)
}

// stepwise returns a running transaction that may grow by steps.
func (c *Coordinator) stepwise(id TxID, x XID) (*txn, error) {
	t, past, err := c.bySteps(id, x)
	if err == nil && past != nil {
		err = fmt.Errorf("%w: %s has ended", ErrTxConflict, id)
	}
	if err == nil && t.growth == nil {
		err = fmt.Errorf("%w: %s cannot grow any more", ErrTxConflict, id)
	}
	return t, err
}

// bySteps returns what there is of an id that Begin may have been called with, if it is
// the transaction of that XID or the XID is zero.
func (c *Coordinator) bySteps(id TxID, x XID) (*txn, *remembered, error) {
	if err := checkTxID(id); err != nil {
		return nil, nil, err
	}
	t, past := c.lookUp(id)
	switch {
	case t == nil && past == nil:
		return nil, nil, c.unknown(id)
	case t != nil && (t.fingerprint != [16]byte{} || t.growth != nil && !t.growth.steps),
		past != nil && past.fingerprint != [16]byte{}:
		return nil, nil, fmt.Errorf("%w: %s was not begun by steps", ErrTxConflict, id)
	case x.IsZero():
	case t != nil && t.xid != x, past != nil && (x.Log != c.log.ID() || past.ref != refOf(x)):
		return nil, nil, fmt.Errorf("%w: %s is not %s any more: that one was rolled back, and the id was begun again", ErrTxConflict, id, x)
	}
	return t, past, nil
}

// grows reports whether a transaction is grown by steps and may still grow.
func (t *txn) grows() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.growth != nil && t.growth.steps && !t.growth.claimed && t.m.State() == protocol.Active
}

// empty reports whether a transaction still grows and has no branch yet. To commit one
// would tell somebody that something happened: the branches may have been those of a
// transaction that a crash took away.
func (t *txn) empty() bool {
	grows := t.grows()
	t.mu.Lock()
	defer t.mu.Unlock()
	return grows && len(t.branches) == 0
}

// claim makes the caller the one who finishes a transaction that grows by steps, and
// must own it; why is the cause of a rollback. It fails if somebody was earlier, or the
// transaction is none of those.
func (t *txn) claim(opts *TxOptions, why error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.growth
	if g == nil || !g.steps || g.claimed {
		return false
	}
	g.claimed, t.cause = true, why
	if g.expire != nil {
		g.expire.Stop()
	}
	t.prepareBy = t.c.now().Add(t.prepareTimeout(opts))
	return true
}

// expired rolls back a transaction whose life is over.
func (t *txn) expired() {
	if t.claim(nil, errors.New("nobody committed it within its lifetime")) {
		failpoint.Hit(failpoint.TxExpired)
		t.giveUp(ReasonDeadline)
	}
}

// giveUp rolls back a claimed transaction for which nobody waits.
func (t *txn) giveUp(code Code) {
	_, _, _ = t.own(t.c.ctx, &TxOptions{CompletionWait: -1}, protocol.Cancelled{Code: code})
}
