package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtc-project/dtc"
)

// tagCommitted is the one answer that says that a branch was committed in one phase.
const tagCommitted = "COMMIT"

// CanOnePhase implements [dtc.OnePhaser]. It says no to what others have prepared, and to a
// payload that cannot be read.
func (d *Database) CanOnePhase(b dtc.Branch) bool {
	if d.opts.TwoPhases {
		return false
	}
	if len(b.Payload) == 0 {
		return true
	}
	p, err := parsePayload(b.Payload)
	return err == nil && !p.Adopted
}

// CommitOnePhase implements [dtc.OnePhaser].
func (d *Database) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	d.noteLowWater(b)
	if err := d.raiseFence(ctx, b.XID); err != nil {
		return dtc.VoteAbort, err
	}
	v, err := d.commitOnePhase(ctx, b)
	if err == nil && v != dtc.VoteAbort {
		d.countFinished(b.XID.Log)
	}
	return v, err
}

func (d *Database) commitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if s := d.find(b.XID); s != nil {
		return d.commitSession(ctx, b, s)
	}
	if len(b.Payload) == 0 {
		return d.refused(ctx, b, errGone)
	}
	p, err := parsePayload(b.Payload)
	if err == nil && p.Adopted {
		err = errors.New("a branch that somebody else prepares is committed in two phases")
	}
	if err != nil {
		return d.refused(ctx, b, err)
	}
	if b.Attempt > 1 { // an earlier one may have done it
		if r, err := d.look(ctx, b); err != nil || r.committed {
			if err != nil {
				return dtc.VoteAbort, err
			}
			return d.same(ctx, b, r)
		}
	}
	s := newSession()
	_ = s.lock(context.WithoutCancel(ctx)) // nobody else knows it, so there is no waiting
	defer s.unlock()
	return d.commitStatements(ctx, b, s, p.Statements)
}

// commitSession commits what was done in calls of Do.
func (d *Database) commitSession(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	if err := s.lock(ctx); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err) // a function given to Do still runs
	}
	defer s.unlock()
	defer d.forget(b.XID, s)
	defer s.end(errOver)
	if s.err == nil && s.missed.Load() {
		s.err = errMissed
	}
	switch {
	case s.err != nil:
		return d.refused(ctx, b, s.err)
	case s.tx == nil: // enlisted, and nothing was done
		return dtc.VoteReadOnly, nil
	}
	c := s.conn.Conn().PgConn()
	if c.TxStatus() != 'T' {
		return d.refused(ctx, b, errWentOn)
	}
	if d.opts.TxOptions.AccessMode == pgx.ReadOnly {
		if read, err := commitRead(ctx, c); err != nil || read {
			return d.readOnly(err)
		}
	}
	return d.commitWork(ctx, b, s)
}

// commitWork records the evidence and commits, in one message.
func (d *Database) commitWork(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	s.sent = true
	results, err := d.recordAndCommit(ctx, s.conn.Conn(), evidenceOf(b))
	return d.answer(ctx, b, s, results, err)
}

// answer tells what the answers to the lock, the evidence and COMMIT mean, which the caller's
// session was given.
func (d *Database) answer(ctx context.Context, b dtc.Branch, s *session, results []*pgconn.Result, err error) (dtc.Vote, error) {
	conn := s.conn.Conn()
	switch {
	case err == nil && len(results) == 3 && results[2].CommandTag.String() == tagCommitted:
		if results[1].CommandTag.RowsAffected() == 0 {
			return dtc.VoteReadOnly, nil
		}
		return dtc.VoteCommit, nil
	case err == nil:
		s.end(errOver)
		return d.refused(ctx, b, errors.New("the server did not commit the transaction: it had failed"))
	case doubtful(err) || conn.IsClosed():
		// It may or may not be committed, now or when the server comes to it.
		drop(conn)
		return dtc.VoteAbort, d.noAnswer("commit in one phase", err)
	}
	s.end(errOver) // it was rolled back; before somebody waits for its locks
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == codeNotNull && e.TableName == d.q.once.table:
		return d.late(ctx, b, e.ColumnName)
	case len(b.Payload) > 0 && isTransient(err): // statements can be done again
		return dtc.VoteAbort, d.noAnswer("commit in one phase", err)
	case sqlState(err) == codeReadOnly:
		return d.refused(ctx, b, errReadOnly)
	}
	return d.refused(ctx, b, fmt.Errorf("commit in one phase: %w", safe(err)))
}

// doubtful reports whether an error leaves open what the server has done: it is no error of
// the server, or one that has ended the connection.
func doubtful(err error) bool {
	var e *pgconn.PgError
	return !errors.As(err, &e) || gone(err) || e.SeverityUnlocalized != "" && e.SeverityUnlocalized != severityError
}

// recordAndCommit sends the lock, the evidence and COMMIT in one go.
func (d *Database) recordAndCommit(ctx context.Context, c *pgx.Conn, e evidence) ([]*pgconn.Result, error) {
	if !d.keeps {
		sql, err := d.q.once.message(e)
		if err != nil {
			return nil, err
		}
		return c.PgConn().Exec(ctx, sql).ReadAll()
	}
	var batch pgconn.Batch
	if err := d.queueEvidence(ctx, c, &batch, e); err != nil {
		return nil, err
	}
	return send(ctx, c, &batch)
}

// queueEvidence adds them to a batch, as statements that are planned once per connection.
func (d *Database) queueEvidence(ctx context.Context, c *pgx.Conn, batch *pgconn.Batch, e evidence) error {
	lock, err := prepareOnce(ctx, c, d.q.once.lock)
	if err != nil {
		return err
	}
	record, err := prepareOnce(ctx, c, d.q.once.record)
	if err != nil {
		return err
	}
	e.queue(batch, lock.Name, record.Name)
	return nil
}

func send(ctx context.Context, c *pgx.Conn, batch *pgconn.Batch) ([]*pgconn.Result, error) {
	results, err := c.PgConn().ExecBatch(ctx, batch).ReadAll()
	if sqlState(err) == codeNoStatement {
		drop(c) // somebody has said DISCARD or DEALLOCATE ALL
	}
	return results, err
}

// late answers a branch whose evidence could not be recorded; column says why.
func (d *Database) late(ctx context.Context, b dtc.Branch, column string) (dtc.Vote, error) {
	r, err := d.look(ctx, b)
	if err != nil {
		return dtc.VoteAbort, err
	}
	if r.committed {
		return d.same(ctx, b, r)
	}
	// None of these is a refusal: the evidence may have been dropped.
	switch column {
	case "incarnation":
		return dtc.VoteAbort, fmt.Errorf("postgres: %s: the branch is of an earlier incarnation of the log", d.id)
	case "seq":
		return dtc.VoteAbort, fmt.Errorf("postgres: %s: the transaction is over (below low water)", d.id)
	}
	return dtc.VoteAbort, fmt.Errorf("postgres: %s: the branch was already rolled back", d.id)
}

// refused votes abort for a reason, after it has made sure that the id was not committed
// before, and that the branch never will be.
func (d *Database) refused(ctx context.Context, b dtc.Branch, reason error) (dtc.Vote, error) {
	r, err := d.shut(ctx, b)
	if err != nil {
		return dtc.VoteAbort, err
	}
	if r.committed {
		return d.same(ctx, b, r)
	}
	return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, reason))
}
