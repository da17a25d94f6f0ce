package dtc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// Execute runs one transaction over the given branches: it asks every
// participant to prepare, makes the decision durable, tells everybody, and
// returns whether the transaction committed.
//
// (true, nil): committed, durably (or every branch was read-only, and nothing was
// there to lose). (false, err) with errors.Is(err,
// [ErrRolledBack]): nothing happened anywhere; the [*RollbackError] names the
// participant and the cause. errors.Is(err, [ErrInDoubt]): this process cannot
// know, now or at all; ask again by id, after the next Open if Err is not nil. A [*HeuristicError]: somebody
// finished a branch against the decision. After every other error nothing was
// begun: [ErrBadRequest], [ErrTxConflict], [ErrFull], [ErrClosed],
// [ErrLogFailed] (but see there), or ctx's own error if it had ended before.
//
// The id is the idempotency key. If it is running with the same branches,
// Execute joins it; if it has ended and is remembered, its outcome is returned;
// nothing is run twice. After it was forgotten ([Config.OutcomeRetention],
// [Config.OutcomeLimit]) the same id is a new transaction.
//
// ctx bounds phase one only: when it ends before the decision the transaction is
// rolled back; afterwards it goes on, and Execute returns what was decided. Its
// values reach the participants.
func (c *Coordinator) Execute(ctx context.Context, id TxID, branches ...Branch) (bool, error) {
	return c.ExecuteWith(ctx, id, nil, branches...)
}

// ExecuteWith is [Coordinator.Execute] with options; nil options are the
// coordinator's.
func (c *Coordinator) ExecuteWith(ctx context.Context, id TxID, opts *TxOptions, branches ...Branch) (bool, error) {
	t, join, past, err := c.start(ctx, id, opts, branches)
	switch {
	case err != nil:
		return false, err
	case past != nil:
		return past.result(id)
	case join:
		return t.await(ctx)
	}
	committed, private, err := t.own(ctx, opts, protocol.Begun{})
	if private {
		t.free()
	}
	return committed, err
}

// Transact is [Coordinator.ExecuteWith] for those who want to know more: it
// describes the transaction when Execute would have returned. The error is nil
// whenever an outcome is known, also if that is [RolledBack] or [Heuristic]; other
// errors are those of Execute.
func (c *Coordinator) Transact(ctx context.Context, id TxID, opts *TxOptions, branches ...Branch) (TxInfo, error) {
	t, join, past, err := c.start(ctx, id, opts, branches)
	switch {
	case err != nil:
		return TxInfo{}, err
	case past != nil:
		return c.recall(id, past), nil
	case join:
		_, err = t.await(ctx)
		return c.told(t, err)
	}
	_, private, err := t.own(ctx, opts, protocol.Begun{})
	info, err := c.told(t, err)
	if private {
		t.free()
	}
	return info, err
}

// told describes a transaction whose outcome was told with an error or without.
func (c *Coordinator) told(t *txn, err error) (TxInfo, error) {
	if err != nil && !knownOutcome(err) {
		return TxInfo{}, err
	}
	return c.describe(t), nil
}

// knownOutcome reports whether an error of Execute tells an outcome.
func knownOutcome(err error) bool {
	var heuristic *HeuristicError
	return errors.Is(err, ErrRolledBack) || errors.As(err, &heuristic)
}

// start checks a request and registers its transaction, which the caller must then
// own. Otherwise it returns one to join, or what is remembered of an earlier one.
func (c *Coordinator) start(ctx context.Context, id TxID, opts *TxOptions, branches []Branch) (t *txn, join bool, past *remembered, err error) {
	if err := checkTxID(id); err != nil {
		return nil, false, nil, err
	}
	if err := checkBranches(branches); err != nil {
		return nil, false, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, false, nil, err
	}
	fp := fingerprint(branches)
	var few [8]*lane // on the stack
	lanes, err := c.lanesOf(branches, few[:0])
	if err != nil {
		// What became of the id is told even if its participants are gone.
		if known, old, past := c.known(id, fp); known {
			return old, old != nil, past, nil
		}
		return nil, false, nil, err
	}
	t, join, past, err = c.begin(id, fp, lanes, branches, nil)
	if err != nil || join || past != nil {
		return t, join, past, err
	}
	if f := c.cfg.Trace.Begun; f != nil {
		f(t.trace())
	}
	t.prepareBy = t.started.Add(t.prepareTimeout(opts))
	return t, false, nil, nil
}

// prepareTimeout returns how long phase one may last: what the transaction says,
// or the longest that a participant is granted.
func (t *txn) prepareTimeout(opts *TxOptions) time.Duration {
	if opts != nil && opts.PrepareTimeout > 0 {
		return opts.PrepareTimeout
	}
	if len(t.branches) == 0 {
		return t.c.cfg.Timing.PrepareTimeout
	}
	longest := t.branches[0].lane.timing.Load().PrepareTimeout
	for i := range t.branches {
		longest = max(longest, t.branches[i].lane.timing.Load().PrepareTimeout)
	}
	return longest
}

// await waits for the outcome of a transaction that somebody else runs.
func (t *txn) await(ctx context.Context) (bool, error) {
	t.mu.Lock()
	if !t.told && !t.ended {
		if t.toldC == nil {
			t.toldC = make(chan struct{})
		}
		told := t.toldC
		settled, stop := t.patience()
		defer stop()
		t.mu.Unlock()
		select {
		case <-told:
		case <-settled:
			return false, fmt.Errorf("%w: the participant of %s does not say what became of it", ErrInDoubt, t.id)
		case <-t.c.ctx.Done():
			return false, fmt.Errorf("%w: %s: %w", ErrInDoubt, t.id, ErrClosed)
		case <-ctx.Done():
			return false, fmt.Errorf("%w: stopped waiting for %s: %w", ErrInDoubt, t.id, ctx.Err())
		}
		t.mu.Lock()
	}
	t.mu.Unlock()
	return t.result()
}

// result returns what may be told. It is called after the outcome was told, or
// the transaction refused.
func (t *txn) result() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.toldResult()
}

// toldResult is result for a caller that holds t.mu.
func (t *txn) toldResult() (bool, error) {
	if t.refused != nil {
		return false, t.refused
	}
	switch t.m.Outcome() {
	case Committed:
		return true, nil
	case RolledBack:
		return false, &RollbackError{TxID: t.id, Reason: t.reason, Err: t.cause}
	case Heuristic:
		return false, t.heuristicError()
	case OutcomeUnknown:
	}
	return false, ErrInDoubt
}

func (t *txn) heuristicError() error {
	e := &HeuristicError{TxID: t.id, Decision: t.m.Decision()}
	for i := range t.branches {
		if s := t.m.Branch(i); s == protocol.BranchHeuristicCommitted || s == protocol.BranchHeuristicRolledBack {
			e.Participants = append(e.Participants, t.branches[i].lane.id)
		}
	}
	return e
}
