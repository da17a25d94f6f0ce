package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
)

// recorded is the row of an id in the evidence; the zero value if there is none.
type recorded struct {
	xid       dtc.XID
	request   []byte
	committed bool
}

// look returns what is recorded for the id of a branch. What it has seen is believed after
// settle. Its error is no answer.
func (d *Database) look(ctx context.Context, b dtc.Branch) (r recorded, err error) {
	var incarnation, nonce, seq int64
	err = d.finish.QueryRow(ctx, d.q.once.look, d.id, b.XID.Log.String(), []byte(b.TxID)).Scan(&incarnation, &nonce, &seq, &r.request, &r.committed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return recorded{}, nil
	case err != nil:
		return recorded{}, d.noAnswer("look for the evidence", err)
	}
	r.xid = dtc.XID{Log: b.XID.Log, Incarnation: dtc.Incarnation{Number: uint32(incarnation), Nonce: uint32(nonce)}, Seq: uint64(seq)}
	return r, nil
}

// serves reports whether the evidence is that of the branch's request, as far as that tells.
func (r recorded) serves(b dtc.Branch) bool {
	p := requestOf(b)
	return r.committed && (r.xid == b.XID || p == nil || r.request == nil || bytes.Equal(p, r.request))
}

// same answers for an id that has been committed in one phase.
func (d *Database) same(ctx context.Context, b dtc.Branch, r recorded) (dtc.Vote, error) {
	if err := d.settle(ctx); err != nil {
		return dtc.VoteAbort, err
	}
	if !r.serves(b) {
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w: it was committed for another request", d.id, dtc.ErrTxConflict))
	}
	if err := d.extend(ctx, b, r); err != nil {
		return dtc.VoteAbort, err
	}
	return dtc.VoteCommit, nil
}

// extend lets the evidence of an id stand for one more XID.
func (d *Database) extend(ctx context.Context, b dtc.Branch, r recorded) error {
	x := b.XID
	if r.xid.Compare(x) >= 0 {
		return nil
	}
	_, err := d.finish.Exec(ctx, d.q.once.extend, d.id, x.Log.String(), []byte(b.TxID),
		int64(x.Incarnation.Number), int64(x.Incarnation.Nonce), int64(x.Seq))
	if err != nil {
		return d.noAnswer("keep the evidence", err)
	}
	return nil
}

// shut makes sure that the branch can be committed in one phase no more, unless its id has
// been, and returns what is recorded then. It waits for a transaction that has recorded the
// evidence and has not ended; one that takes long is ended.
func (d *Database) shut(ctx context.Context, b dtc.Branch) (recorded, error) {
	x := b.XID
	err := pgx.BeginTxFunc(ctx, d.finish, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		return d.unblocking(ctx, tx, dtc.Branch{XID: x}, func() error {
			_, err := tx.Exec(ctx, d.q.once.seal, d.id, x.Log.String(), []byte(b.TxID),
				int64(x.Incarnation.Number), int64(x.Incarnation.Nonce), int64(x.Seq))
			return err
		})
	})
	if err != nil {
		return recorded{}, d.noAnswer("seal", err)
	}
	r, err := d.look(ctx, b)
	if err != nil {
		return r, err
	}
	return r, d.settle(ctx)
}

// Settle implements [dtc.OnePhaser].
func (d *Database) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	d.noteLowWater(b)
	if err := d.raiseFence(ctx, b.XID); err != nil {
		return dtc.OutcomeUnknown, err
	}
	if s := d.find(b.XID); s != nil {
		s.cancel()
		if err := s.lock(ctx); err != nil {
			return dtc.OutcomeUnknown, dtc.NoAnswer(fmt.Errorf("postgres: %s: the branch is still at work: %w", d.id, err))
		}
		s.end(errOver)
		sent := s.sent
		s.unlock()
		d.forget(b.XID, s)
		if !sent && !d.committedBefore(b.XID) {
			return dtc.RolledBack, nil // nobody else has the work, and it is undone
		}
	}
	r, err := d.shut(ctx, b)
	if err != nil {
		return dtc.OutcomeUnknown, err
	}
	if r.serves(b) {
		if err := d.extend(ctx, b, r); err != nil {
			return dtc.OutcomeUnknown, err
		}
		d.countFinished(b.XID.Log)
		return dtc.Committed, nil
	}
	if dropped, err := d.dropped(ctx, b); err != nil || dropped && !r.committed {
		return dtc.OutcomeUnknown, err
	}
	d.countFinished(b.XID.Log)
	return dtc.RolledBack, nil
}

// dropped reports whether evidence of the XID or of a later one has been dropped, so that
// its absence says nothing.
func (d *Database) dropped(ctx context.Context, b dtc.Branch) (dropped bool, err error) {
	x := b.XID
	err = d.finish.QueryRow(ctx, d.q.once.dropped, d.id, x.Log.String(), int64(x.Incarnation.Number), int64(x.Seq)).Scan(&dropped)
	if err != nil {
		return false, d.noAnswer("look for dropped evidence", err)
	}
	return dropped, nil
}

// Prove implements [dtc.OnePhaser].
func (d *Database) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	r, err := d.look(ctx, dtc.Branch{XID: dtc.XID{Log: log}, TxID: id})
	if err != nil || !r.committed {
		return dtc.XID{}, err
	}
	return r.xid, d.settle(ctx)
}
