package dtchttp

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// ClientTx is a transaction that grows while the function given to [Client.Run] works.
// It may be used by several goroutines, and is of no use after that function has
// returned.
type ClientTx struct {
	c   *Client
	id  dtc.TxID
	xid dtc.XID
}

// ID returns the id of the transaction.
func (tx *ClientTx) ID() dtc.TxID { return tx.id }

// XID returns the coordinator's id of the transaction, under which a participant keeps
// the work that is done for it.
func (tx *ClientTx) XID() dtc.XID { return tx.xid }

// Enlist adds a branch. Nothing is called yet: the participant is asked to prepare when
// the function given to Run has returned, with the payload, which must be JSON; if the
// function fails it is asked to roll back.
func (tx *ClientTx) Enlist(ctx context.Context, participant string, payload []byte) error {
	_, _, err := tx.c.Enlist(ctx, tx.id, dtc.Branch{Participant: participant, Payload: payload, XID: tx.xid})
	return err
}

// Run begins a transaction, runs fn, and commits what it enlisted. Nil means committed.
// If fn returns an error, or its context has ended, everything is rolled back, and the
// error that Run returns unwraps to fn's. If fn panics everything is rolled back and the
// panic goes on.
//
// The errors are those of [Client.Execute]. An id that was begun by another Run is joined
// by id alone: fn is not called, and the outcome of the other is waited for and returned.
// So is one of which the answer to its beginning was lost, since it may be another's; with
// an empty id, which is replaced by a new one, it cannot be. If this process ends meanwhile
// the coordinator rolls the transaction back when its lifetime is over. So that it is not
// committed by mistake, one that enlists nobody is rolled back, and the error is a
// [dtc.ErrBadRequest] as well.
func (c *Client) Run(ctx context.Context, id dtc.TxID, fn func(context.Context, *ClientTx) error) error {
	return c.RunWith(ctx, id, nil, fn)
}

// RunWith is [Client.Run] with options; nil options are the coordinator's.
func (c *Client) RunWith(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions, fn func(context.Context, *ClientTx) error) error {
	if fn == nil {
		return fmt.Errorf("%w: Run was given no function", dtc.ErrBadRequest)
	}
	made := id == ""
	if made {
		id = dtc.NewTxID()
	}
	t, begun, err := c.Begin(ctx, id, opts)
	switch {
	case errors.Is(err, dtc.ErrTxConflict):
		return c.join(ctx, id, opts, err)
	case err != nil:
		return err
	case !begun && !made:
		// It may be another's, and only that one knows when it is complete.
		return c.outcomeOf(c.await(ctx, id, t.XID))
	}
	xid, err := dtc.ParseXID(t.XID)
	if err != nil {
		return err
	}
	return c.grow(ctx, opts, &ClientTx{c, id, xid}, fn)
}

// join returns the outcome of a transaction that does not grow any more. To commit it once
// more is to wait for it, and commits nothing that would not be committed anyway: its XID
// keeps out a later transaction of the same id, which may still be growing.
func (c *Client) join(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions, conflict error) error {
	t, err := c.Transaction(ctx, id)
	if err != nil {
		return fmt.Errorf("%w; asked what became of it: %w", conflict, err)
	}
	if t.State == "active" { // a later one already, begun since: only its own caller knows when it is complete
		return c.outcomeOf(c.await(ctx, id, t.XID))
	}
	its := dtc.TxOptions{}
	if opts != nil {
		its = *opts
	}
	if its.XID, err = dtc.ParseXID(t.XID); err != nil {
		return err
	}
	return c.outcomeOf(c.Commit(ctx, id, &its))
}

// grow calls fn and ends the transaction, also if fn panics.
func (c *Client) grow(ctx context.Context, opts *dtc.TxOptions, tx *ClientTx, fn func(context.Context, *ClientTx) error) error {
	returned := false
	defer func() {
		if !returned {
			_ = c.giveUp(ctx, tx, errors.New("dtc: the function given to Run panicked"))
		}
	}()
	err := fn(ctx, tx)
	returned = true
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return c.giveUp(ctx, tx, err)
	}
	mine := dtc.TxOptions{XID: tx.xid}
	if opts != nil {
		mine = *opts
		mine.XID = tx.xid
	}
	t, err := c.Commit(ctx, tx.id, &mine)
	switch {
	case err == nil || errors.Is(err, dtc.ErrInDoubt):
		return c.outcomeOf(t, err)
	case errors.Is(err, dtc.ErrUnknownTx):
		// It was begun, and the only request to commit it found it gone.
		return &dtc.RollbackError{TxID: tx.id, Reason: dtc.Reason{Code: dtc.ReasonRecovered, Message: "the coordinator no longer had it when it was to be committed"}, Err: err}
	}
	return c.giveUp(ctx, tx, err) // the request to commit it was not carried out
}

// giveUp rolls a transaction back that nobody has asked to commit. If the coordinator
// does not hear of it, it does so by itself at the end of the transaction's lifetime.
func (c *Client) giveUp(ctx context.Context, tx *ClientTx, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.attempt)
	defer cancel()
	t, err := c.Rollback(ctx, tx.id, &dtc.TxOptions{XID: tx.xid})
	if err == nil {
		if o, _ := t.outcome(); o != dtc.RolledBack {
			return c.outcomeOf(t, nil) // somebody else ended it
		}
	}
	return &dtc.RollbackError{TxID: tx.id, Reason: dtc.Reason{Code: dtc.ReasonCancelled, Message: why.Error()}, Err: why}
}

// outcomeOf returns the error for an outcome that was asked for.
func (c *Client) outcomeOf(t Transaction, err error) error {
	if err == nil {
		_, err = t.result()
	}
	return err
}

// await waits for the outcome of a transaction that somebody else ends.
func (c *Client) await(ctx context.Context, id dtc.TxID, xid string) (t Transaction, err error) {
	for n := 0; ; n++ {
		t, err = c.Transaction(ctx, id)
		var p *Problem
		switch {
		case err == nil && t.XID != xid:
			return Transaction{}, clientDoubt(id, errors.New("the coordinator no longer knows it, and has another of that id"))
		case err == nil && t.Outcome != nil:
			return t, nil
		case errors.As(err, &p) && p.refused():
			return Transaction{}, clientDoubt(id, err)
		}
		if ended := clientPause(ctx, n, 0); ended != nil {
			return Transaction{}, clientDoubt(id, errors.Join(ended, err))
		}
	}
}
