package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
)

const (
	endTimeout  = time.Second            // for an orderly end of a session
	blockedWait = 200 * time.Millisecond // until somebody looks who holds up a seal
)

// Commit implements [dtc.Participant].
func (d *Database) Commit(ctx context.Context, b dtc.Branch) error {
	d.noteLowWater(b)
	if err := d.raiseFence(ctx, b.XID); err != nil {
		return err
	}
	found, err := d.finishKept(ctx, b, "COMMIT PREPARED ")
	if err != nil {
		return err
	}
	if !found {
		// Not found is not done. What became of it is told by its row, and if there is
		// none the seal makes sure that nothing will become of it any more.
		state, err := d.state(ctx, b)
		if err != nil {
			return err
		}
		if state == "" {
			below, err := d.below(ctx, b)
			if err != nil || below {
				return err
			}
			if state, err = d.seal(ctx, b); err != nil {
				return err
			}
		}
		switch state {
		case stateCommitted:
			if err := d.settle(ctx); err != nil {
				return err
			}
		case stateRolledBack:
			return &dtc.FinishedError{Outcome: dtc.RolledBack}
		default:
			return d.strange(state)
		}
	}
	d.countFinished(b.XID.Log)
	return nil
}

// Rollback implements [dtc.Participant].
func (d *Database) Rollback(ctx context.Context, b dtc.Branch) error {
	d.noteLowWater(b)
	if err := d.raiseFence(ctx, b.XID); err != nil {
		return err
	}
	if s := d.find(b.XID); s != nil {
		s.cancel()
		if err := s.lock(ctx); err != nil {
			return dtc.NoAnswer(fmt.Errorf("postgres: %s: a function given to Do has not returned yet: %w", d.id, err))
		}
		s.end(errOver)
		s.unlock()
		d.forget(b.XID, s)
	}
	if _, err := d.finishKept(ctx, b, "ROLLBACK PREPARED "); err != nil {
		return err
	}
	// Whether there was something or not: nothing is prepared under this name again.
	state, err := d.seal(ctx, b)
	if err != nil {
		return err
	}
	switch state {
	case stateRolledBack:
	case stateCommitted:
		return &dtc.FinishedError{Outcome: dtc.Committed}
	default:
		return d.strange(state)
	}
	d.countFinished(b.XID.Log)
	return nil
}

// strange is the error for a branch that is not prepared, and of which the server does not
// say how it ended.
func (d *Database) strange(state string) error {
	return fmt.Errorf("postgres: %s: %w: nothing is prepared under its name, and its transaction is %s", d.id, dtc.ErrUnknownBranch, state)
}

// finishPrepared ends a prepared transaction, whose name is a literal, and reports whether
// there was one.
func (d *Database) finishPrepared(ctx context.Context, on finisher, name, verb string) (bool, error) {
	_, err := on.Exec(ctx, verb+name, pgx.QueryExecModeSimpleProtocol)
	switch {
	case err == nil:
		return true, nil
	case sqlState(err) == codeUndefined:
		return false, nil
	case gone(err):
		return false, d.noAnswer("finish", err)
	}
	// Busy, another database's, another role's: it is there, and not finished.
	return false, fmt.Errorf("postgres: %s: finish: %w", d.id, safe(err))
}

// state returns what the branch's row says, or "" if there is none.
func (d *Database) state(ctx context.Context, b dtc.Branch) (state string, err error) {
	x := b.XID
	err = d.finish.QueryRow(ctx, d.q.state, Name(x, b.Participant), b.Participant, x.Log.String(),
		int64(x.Incarnation.Number), int64(x.Seq)).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case err != nil:
		return "", d.noAnswer("read the branch's row", err)
	}
	return state, nil
}

// seal makes sure that the branch can commit no more, unless it has, and returns what
// its row says then. It waits for a transaction that has inserted the row and has not
// ended: a prepared one is rolled back, and a session that is about to prepare is
// ended, since whoever seals has given up on it.
func (d *Database) seal(ctx context.Context, b dtc.Branch) (string, error) {
	x := b.XID
	err := pgx.BeginTxFunc(ctx, d.finish, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		return d.unblocking(ctx, tx, b, func() error {
			_, err := tx.Exec(ctx, d.q.seal, Name(x, b.Participant), b.Participant, x.Log.String(),
				int64(x.Incarnation.Number), int64(x.Seq), []byte(b.TxID))
			return err
		})
	})
	if err != nil {
		return "", d.noAnswer("seal", err)
	}
	return d.state(ctx, b)
}

// unblocking does something in tx that waits for others, and ends them if it takes long.
// Prepared transactions are those of the branch; if it names no participant there are none.
func (d *Database) unblocking(ctx context.Context, tx pgx.Tx, b dtc.Branch, do func() error) error {
	// The server's own word: behind a pooler the connection has another number.
	var pid int32
	if err := tx.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.unblock(watching, b, pid)
	}()
	defer func() {
		cancel()
		<-watched // before the connection does something else
	}()
	return do()
}

// unblock ends, until ctx does, what the connection with that pid waits for.
func (d *Database) unblock(ctx context.Context, b dtc.Branch, pid int32) {
	timer := time.NewTimer(blockedWait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := d.unblockOnce(ctx, b, pid); err != nil && ctx.Err() == nil {
			d.opts.Logger.Warn("postgres: what finishes branches waits for another transaction",
				"participant", d.id, "xid", b.XID.String(), "error", safe(err).Error())
		}
		timer.Reset(blockedWait)
	}
}

// unblockOnce ends those whose own end is waited for, as whoever has inserted the row, or
// commits in one phase while a fence is raised. Whoever has locked the table, to make an index or to vacuum it, is waited for.
func (d *Database) unblockOnce(ctx context.Context, b dtc.Branch, pid int32) error {
	rows, err := d.watch.Query(ctx, "SELECT unnest(pg_blocking_pids($1)) WHERE EXISTS (SELECT 1 FROM pg_locks"+
		" WHERE pid = $1 AND NOT granted AND locktype IN ('transactionid', 'advisory'))", pid)
	if err != nil {
		return err
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	for _, p := range pids {
		if p == 0 && b.Participant == "" {
			continue
		}
		if p == 0 { // a prepared transaction has no process
			name, err := literal(Name(b.XID, b.Participant))
			if err == nil {
				_, err = d.finishPrepared(ctx, d.watch, name, "ROLLBACK PREPARED ")
			}
			if err != nil {
				return err
			}
			continue
		}
		if _, err := d.watch.Exec(ctx, "SELECT pg_terminate_backend($1)", p); err != nil {
			return err
		}
	}
	return nil
}
