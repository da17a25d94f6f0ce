package dtc

import (
	"context"
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
)

// Tx is a transaction that grows while the function given to [Coordinator.Run]
// works. It may be used by several goroutines, and is of no use after that
// function has returned.
type Tx struct{ t *txn }

// ID returns the caller's id of the transaction.
func (tx *Tx) ID() TxID { return tx.t.id }

// XID returns the coordinator's id of the transaction, under which a participant
// keeps the work that is done for it.
func (tx *Tx) XID() XID { return tx.t.xid }

// Enlist adds a branch. Nothing is called yet: the participant is asked to
// prepare when the function given to Run has returned, with the payload; if the
// function fails it is asked to roll back, because work may have been done for
// the branch already. Enlisting a participant again changes nothing.
//
// It fails with [ErrBadRequest] if the participant is not registered, and with
// [ErrRolledBack] if the transaction has ended meanwhile.
func (tx *Tx) Enlist(participant string, payload []byte) error {
	_, err := tx.t.add(Branch{Participant: participant, Payload: payload})
	return err
}

// add enlists a branch in a transaction that grows. It returns the branch of that
// participant that was there before, if there was one.
func (t *txn) add(b Branch) (before *branchRun, err error) {
	one, room := [1]Branch{b}, [1]*lane{} // on the stack
	if err := checkBranches(one[:]); err != nil {
		return nil, err
	}
	c := t.c
	lanes, err := c.lanesOf(one[:], room[:0])
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m.State() != protocol.Active || t.growth.claimed {
		return nil, fmt.Errorf("%w: %s cannot grow any more", ErrRolledBack, t.id)
	}
	for _, br := range t.branches {
		if br.lane == lanes[0] {
			return br, nil
		}
	}
	if len(t.branches) == protocol.MaxBranches {
		return nil, fmt.Errorf("%w: at most %d branches are allowed", ErrBadRequest, protocol.MaxBranches)
	}
	br := &branchRun{payload: b.Payload}
	c.mu.Lock()
	err = lanes[0].room()
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t.enlist(br, lanes[0], len(t.branches), true) // asks the participant: not under c.mu
	c.mu.Lock()
	c.linkBranch(br)
	t.branches = append(t.branches, br)
	c.mu.Unlock()
	failpoint.Hit(failpoint.TxEnlisted)
	return nil, nil
}

// Run runs fn and then commits what it enlisted. Nil means committed. If fn
// returns an error everything is rolled back, and the error that Run returns
// unwraps to fn's. If fn panics everything is rolled back and the panic goes on.
//
// Nil is also returned if fn fails, and the participant of the only branch proves that the id
// was committed in one phase before a power loss ([OnePhaser]): then fn may have failed because
// its work was done.
//
// The errors are those of [Coordinator.Execute]. An id that another Run has used
// is joined by id alone: fn is not called again, and the outcome of that run is
// returned. An id that Execute has used is a conflict.
// The context given to fn ends with ctx and with the transaction's lifetime
// ([Config.TxLifetime]).
func (c *Coordinator) Run(ctx context.Context, id TxID, fn func(context.Context, *Tx) error) error {
	return c.RunWith(ctx, id, nil, fn)
}

// RunWith is [Coordinator.Run] with options; nil options are the coordinator's.
func (c *Coordinator) RunWith(ctx context.Context, id TxID, opts *TxOptions, fn func(context.Context, *Tx) error) error {
	life, err := c.lifetime(opts)
	if err != nil {
		return err
	}
	if err := checkTxID(id); err != nil {
		return err
	}
	if fn == nil {
		return fmt.Errorf("%w: Run was given no function", ErrBadRequest)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t, join, past, err := c.begin(id, [16]byte{}, nil, nil, new(growth))
	switch {
	case err != nil:
		return err
	case past != nil:
		_, err := past.result(id)
		return err
	case join:
		_, err := t.await(ctx)
		return err
	}
	if f := c.cfg.Trace.Begun; f != nil {
		f(t.trace())
	}
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	t.mu.Lock()
	t.growth.giveUp = cancel
	if t.m.State() != protocol.Active {
		cancel() // Close was here first, and found nothing to end
	}
	t.mu.Unlock()
	return t.grow(ctx, opts, fn)
}

// lifetime returns how long a transaction may grow.
func (c *Coordinator) lifetime(opts *TxOptions) (time.Duration, error) {
	life := c.cfg.TxLifetime
	if opts != nil && opts.Lifetime != 0 {
		life = opts.Lifetime
	}
	if life < 0 || life > maxLifetime {
		return 0, fmt.Errorf("%w: the lifetime is %v; it must be at most %v", ErrBadRequest, life, maxLifetime)
	}
	return life, nil
}

// grow calls fn and finishes the transaction, also if fn panics.
func (t *txn) grow(ctx context.Context, opts *TxOptions, fn func(context.Context, *Tx) error) (result error) {
	var err error
	returned := false
	defer func() {
		var first protocol.Event = protocol.Begun{}
		t.mu.Lock()
		t.growth.claimed = true
		switch {
		case !returned:
			first, t.cause = protocol.Cancelled{Code: ReasonCancelled}, fmt.Errorf("dtc: the function given to Run panicked")
		case err != nil:
			first, t.cause = protocol.Cancelled{Code: ReasonCancelled}, err
		case ctx.Err() != nil:
			first, t.cause = protocol.Cancelled{Code: codeOf(ctx.Err())}, context.Cause(ctx)
		}
		t.prepareBy = t.c.now().Add(t.prepareTimeout(opts))
		t.mu.Unlock()
		_, _, result = t.own(ctx, opts, first)
	}()
	err = fn(ctx, &Tx{t})
	failpoint.Hit(failpoint.TxGrown)
	returned = true
	return nil // what own says takes its place
}
