package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtc-project/dtc"
)

// tagPrepared is the one answer that is a vote to commit.
const tagPrepared = "PREPARE TRANSACTION"

var (
	errGone     = errors.New("the work of this branch is not there: it has no payload, and was done by a process that has ended, or on a connection that was lost, or never")
	errWentOn   = errors.New("a statement of the transaction failed and the function went on; use a savepoint (Begin) around what may fail")
	errReadOnly = errors.New("the transaction is read-only and can be no branch; set AccessMode in Options.TxOptions where all of them are to be")
)

// Prepare implements [dtc.Participant].
func (d *Database) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	d.noteLowWater(b)
	if v, done, err := d.before(ctx, b); done {
		return v, err
	}
	s := d.find(b.XID)
	if s != nil || len(b.Payload) == 0 {
		if s == nil {
			return d.attest(ctx, b, errGone)
		}
		return d.prepareSession(ctx, b, s)
	}
	p, err := parsePayload(b.Payload)
	if err != nil {
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, err))
	}
	if p.Adopted {
		return d.adopt(ctx, b)
	}
	return d.prepareStatements(ctx, b, p.Statements)
}

// prepareStatements executes and prepares a branch of plain statements. If it has been
// prepared before, by a call whose answer was lost, the statements or the row would wait
// for that one, without end: so it is looked for when they take long.
func (d *Database) prepareStatements(ctx context.Context, b dtc.Branch, list []Statement) (dtc.Vote, error) {
	if b.Attempt > 1 {
		if listed, err := d.listed(ctx, b); err != nil || listed {
			return vote(listed), err
		}
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	var before atomic.Bool
	defer time.AfterFunc(blockedWait, func() {
		for working.Err() == nil {
			if listed, err := d.listed(working, b); err == nil && listed {
				before.Store(true)
				cancel()
			}
			select {
			case <-working.Done():
			case <-time.After(blockedWait):
			}
		}
	}).Stop()
	s := newSession()
	_ = s.lock(context.WithoutCancel(ctx)) // nobody else knows it, so there is no waiting
	defer s.unlock()
	v, err := d.statements(working, b, s, list)
	if before.Load() {
		s.end(errOver)
		return dtc.VoteCommit, nil
	}
	return v, err
}

func (d *Database) statements(ctx context.Context, b dtc.Branch, s *session, list []Statement) (dtc.Vote, error) {
	if err := d.connect(ctx, s); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if err := d.begin(ctx, s); err != nil {
		s.end(err)
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if err := execStatements(ctx, s.conn.Conn().PgConn(), list); err != nil {
		s.end(err)
		err = fmt.Errorf("postgres: %s: %w", d.id, err)
		if isTransient(err) {
			return dtc.VoteAbort, dtc.NoAnswer(err) // tried again: nothing was prepared
		}
		return dtc.VoteAbort, dtc.Refuse(err)
	}
	return d.prepare(ctx, b, s)
}

func vote(commit bool) dtc.Vote {
	if commit {
		return dtc.VoteCommit
	}
	return dtc.VoteAbort
}

// prepareSession prepares what was done in calls of Do.
func (d *Database) prepareSession(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	if err := s.lock(ctx); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err) // a function given to Do still runs
	}
	defer s.unlock()
	defer d.forget(b.XID, s)
	if s.err == nil && s.missed.Load() {
		s.err = errMissed
	}
	switch {
	case s.err != nil:
		err := s.err
		s.end(err)
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, err))
	case s.tx == nil: // enlisted, and nothing was done
		s.end(errOver)
		return dtc.VoteReadOnly, nil
	}
	return d.prepare(ctx, b, s)
}

// prepare proves and prepares the session's transaction, in one message, and ends the
// session. The caller holds it.
func (d *Database) prepare(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	defer s.end(errOver)
	proof, err := proofOf(b)
	if err != nil {
		return dtc.VoteAbort, dtc.Refuse(err)
	}
	c := s.conn.Conn().PgConn()
	if c.TxStatus() != 'T' {
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, errWentOn))
	}
	if d.opts.TxOptions.AccessMode == pgx.ReadOnly {
		if read, err := commitRead(ctx, c); err != nil || read {
			return d.readOnly(err)
		}
	}
	results, err := d.proveAndPrepare(ctx, s.conn.Conn(), proof)
	var e *pgconn.PgError
	switch {
	case err == nil && len(results) == 2 && results[1].CommandTag.String() == tagPrepared:
		conn := s.conn
		s.conn = nil
		d.keep(b.XID, proof.quoted, conn)
		return dtc.VoteCommit, nil
	case err == nil:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the server did not prepare the transaction: it had failed", d.id))
	case !errors.As(err, &e):
		// It may or may not be prepared, now or when the server comes to it. The next
		// attempt asks.
		drop(s.conn.Conn())
		return dtc.VoteAbort, d.noAnswer("prepare", err)
	case e.Code == codeNotNull && e.ColumnName == "state" && e.TableName == d.q.table:
		return dtc.VoteReadOnly, nil
	case e.Code == codeNotNull && e.ColumnName == "participant" && e.TableName == d.q.table:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the role was changed with SET ROLE: the branch would belong to a role that does not finish it;"+
			" RESET ROLE at the end of the function", d.id))
	case e.Code == codeReadOnly:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, errReadOnly))
	case e.Code == codeUnique && e.TableName == d.q.table:
		return d.ended(ctx, b)
	case e.Code == codeNotNull && e.ColumnName == "tx_id" && e.TableName == d.q.table:
		if listed, err := d.listed(ctx, b); err != nil || listed {
			return vote(listed), err // prepared before low water came so far
		}
		if state, err := d.state(ctx, b); err != nil || state == stateCommitted {
			return vote(err == nil), err
		}
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the transaction is over (below low water)", d.id))
	case e.Code == codeDuplicate:
		// Not by an earlier attempt, whose row would have been met: by a hand, or in another
		// database of the server. What stands there is not this work. The rollback that
		// follows undoes it, if it is in this database.
		return dtc.VoteAbort, fmt.Errorf("postgres: %s: something else is prepared under the name of the branch: %w", d.id, safe(err))
	case doubtful(err):
		drop(s.conn.Conn())
		return dtc.VoteAbort, d.noAnswer("prepare", err)
	}
	// An error of PREPARE TRANSACTION itself: the server has rolled it back.
	return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: prepare: %w", d.id, safe(err)))
}

// ended answers a prepare that has met the row of its branch.
func (d *Database) ended(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	switch state, err := d.state(ctx, b); {
	case err != nil:
		return dtc.VoteAbort, err
	case state == stateCommitted:
		err := d.settle(ctx)
		return vote(err == nil), err // as the first time
	case state == stateRolledBack:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the branch was already rolled back", d.id))
	}
	// Dropped in between: low water has passed it, which the next attempt will see.
	return dtc.VoteAbort, dtc.NoAnswer(fmt.Errorf("postgres: %s: the branch's row has just been dropped", d.id))
}

// proveAndPrepare sends both statements in one go. Where the driver may keep statements on a
// connection the first one is planned once: it is half of what a branch costs the server.
func (d *Database) proveAndPrepare(ctx context.Context, c *pgx.Conn, p proof) ([]*pgconn.Result, error) {
	if !d.keeps {
		return c.PgConn().Exec(ctx, d.q.message(p)).ReadAll()
	}
	statement, err := prepareOnce(ctx, c, d.q.prove)
	if err != nil {
		return nil, err
	}
	results, err := c.PgConn().ExecBatch(ctx, p.pipeline(statement.Name)).ReadAll()
	if sqlState(err) == codeNoStatement {
		drop(c) // somebody has said DISCARD or DEALLOCATE ALL
	}
	return results, err
}

// prepareOnce has the server plan a statement, once per connection. Its name is made of its
// text, and is short: the server looks at the first 63 bytes of a name.
func prepareOnce(ctx context.Context, c *pgx.Conn, sql string) (*pgconn.StatementDescription, error) {
	return c.Prepare(ctx, sql, sql)
}

// commitRead commits a transaction that has written nothing, and reports whether that was
// so.
func commitRead(ctx context.Context, c *pgconn.PgConn) (bool, error) {
	results, err := c.Exec(ctx, "SELECT 1 WHERE pg_current_xact_id_if_assigned() IS NULL").ReadAll()
	if err != nil || len(results) != 1 || len(results[0].Rows) == 0 {
		return false, err
	}
	results, err = c.Exec(ctx, "COMMIT").ReadAll()
	if err == nil && results[0].CommandTag.String() != "COMMIT" {
		err = errors.New("the server did not commit the transaction: it had failed")
	}
	return true, err
}

// readOnly votes for a branch that has only read, and has been ended with err.
func (d *Database) readOnly(err error) (dtc.Vote, error) {
	if err != nil { // it holds nothing, and what it has read may not be valid
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: end of a read-only transaction: %w", d.id, safe(err)))
	}
	return dtc.VoteReadOnly, nil
}
