package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
)

// fenceTimeout bounds the wait for those who commit in one phase while a fence is raised.
const fenceTimeout = "5s"

// fence is what this process knows of the fence of one log.
type fence struct {
	incarnation uint32    // that it was raised to
	earlier     bool      // ids of earlier incarnations may have been committed in one phase
	since       time.Time // it is known
}

// raiseFence makes sure that no branch of an incarnation before that of x commits in one
// phase any more. It asks the database once per incarnation. Its error is no answer.
func (d *Database) raiseFence(ctx context.Context, x dtc.XID) error {
	if d.fenced(x) {
		return nil
	}
	select {
	case d.fencing <- struct{}{}:
	case <-ctx.Done():
		return d.noAnswer("raise the fence", ctx.Err())
	}
	defer func() { <-d.fencing }()
	if d.fenced(x) {
		return nil
	}
	f, err := d.fenceFor(ctx, x)
	if err != nil {
		return d.noAnswer("raise the fence against earlier incarnations", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fences[x.Log] = f
	return nil
}

func (d *Database) fenced(x dtc.XID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.fences[x.Log]
	return ok && f.incarnation >= x.Incarnation.Number
}

// committedBefore reports whether an id may have been committed in one phase by an earlier
// incarnation, in a way that must still be known.
func (d *Database) committedBefore(x dtc.XID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, low := d.fences[x.Log], d.low[x.Log]
	forgotten := low.Incarnation.Number >= x.Incarnation.Number && time.Since(f.since) > d.opts.RememberOnce
	return f.earlier && !forgotten
}

// fenceFor finds the fence that is there, or raises it.
func (d *Database) fenceFor(ctx context.Context, x dtc.XID) (fence, error) {
	number := x.Incarnation.Number
	var there int64
	err := d.finish.QueryRow(ctx, d.q.once.fence, d.id, x.Log.String()).Scan(&there)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return fence{}, err
	case err == nil && uint32(there) >= number:
		// Raised by another process, or before this one began.
		return fence{uint32(there), true, time.Now()}, d.settle(ctx)
	}
	f := fence{incarnation: number}
	err = pgx.BeginTxFunc(ctx, d.finish, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", fenceTimeout); err != nil {
			return err
		}
		err := d.unblocking(ctx, tx, dtc.Branch{XID: x}, func() error {
			// All who have the lock have seen the fence as it was, and end first.
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", fenceKey(d.id, x.Log)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, d.q.once.raise, d.id, x.Log.String(), int64(number))
			return err
		})
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, d.q.once.earlier, d.id, x.Log.String(), int64(number)).Scan(&f.earlier)
	})
	f.since = time.Now()
	return f, err
}

// before answers a prepare of an id that an earlier incarnation has committed in one phase.
// It reports false if that is not so.
func (d *Database) before(ctx context.Context, b dtc.Branch) (v dtc.Vote, done bool, err error) {
	if err := d.raiseFence(ctx, b.XID); err != nil {
		return dtc.VoteAbort, true, err
	}
	if !d.committedBefore(b.XID) {
		return 0, false, nil
	}
	r, err := d.look(ctx, b)
	if err != nil {
		return dtc.VoteAbort, true, err
	}
	if !r.committed {
		return 0, false, nil
	}
	if s := d.find(b.XID); s != nil {
		if err := s.lock(ctx); err != nil {
			return dtc.VoteAbort, true, dtc.NoAnswer(fmt.Errorf("postgres: %s: a function given to Do has not returned yet: %w", d.id, err))
		}
		s.end(errOver)
		s.unlock()
		d.forget(b.XID, s)
	}
	v, err = d.same(ctx, b, r)
	if err == nil {
		v = dtc.VoteReadOnly
	}
	return v, true, err
}
