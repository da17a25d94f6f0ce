package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtc-project/dtc"
)

// tagPrepared is the one answer that is a vote to commit.
const tagPrepared = "PREPARE TRANSACTION"

var errGone = errors.New("the work of this branch is not there: it was done by a process that has ended, or its connection was lost")

// Prepare implements [dtc.Participant].
func (d *Database) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	d.noteLowWater(b)
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
		return d.attest(ctx, b, errors.New("no transaction is prepared under the name "+Name(b.XID, b.Participant)))
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
	_ = s.lock(ctx) // nobody else knows it
	defer s.unlock()
	v, err := d.statements(working, b, s, list)
	if before.Load() {
		s.end(errOver)
		return dtc.VoteCommit, nil
	}
	return v, err
}

func (d *Database) statements(ctx context.Context, b dtc.Branch, s *session, list []Statement) (dtc.Vote, error) {
	if err := d.beginIn(ctx, s); err != nil {
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
	switch {
	case s.err != nil:
		err := s.err
		s.end(err)
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, err))
	case s.conn == nil: // enlisted, and nothing was done
		s.end(errOver)
		return dtc.VoteReadOnly, nil
	}
	return d.prepare(ctx, b, s)
}

// prepare proves and prepares the session's transaction, in one message, and ends the
// session. The caller holds it.
func (d *Database) prepare(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	message, err := d.q.prove(b)
	if err != nil {
		s.end(err)
		return dtc.VoteAbort, dtc.Refuse(err)
	}
	c := s.conn.Conn().PgConn()
	if c.TxStatus() != 'T' {
		s.end(errOver)
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: a statement of the transaction failed and the function went on; use a savepoint (Begin) around what may fail", d.id))
	}
	results, err := c.Exec(ctx, message).ReadAll()
	defer s.end(errOver)
	var e *pgconn.PgError
	switch {
	case err == nil && len(results) == 2 && results[1].CommandTag.String() == tagPrepared:
		return dtc.VoteCommit, nil
	case err == nil:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the server did not prepare the transaction: it had failed", d.id))
	case !errors.As(err, &e):
		// It may or may not be prepared, now or when the server comes to it. The next
		// attempt asks.
		drop(s.conn.Conn())
		return dtc.VoteAbort, d.noAnswer("prepare", err)
	case e.Code == codeNotNull && e.ColumnName == "state" && e.TableName == d.q.branch:
		return dtc.VoteReadOnly, nil
	case e.Code == codeUnique && e.TableName == d.q.branch:
		return d.ended(ctx, b)
	case e.Code == codeCheck && e.TableName == d.q.branch:
		if listed, err := d.listed(ctx, b); err != nil || listed {
			return vote(listed), err // prepared before low water came so far
		}
		if state, err := d.state(ctx, b); err != nil || state == stateCommitted {
			return vote(err == nil), err
		}
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the transaction is over (below low water)", d.id))
	case e.Code == codeDuplicate:
		return dtc.VoteCommit, nil // an earlier attempt has prepared it
	case gone(err):
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
		return dtc.VoteCommit, nil // as the first time
	case state == stateRolledBack:
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: the branch was already rolled back", d.id))
	}
	// Dropped in between: low water has passed it, which the next attempt will see.
	return dtc.VoteAbort, dtc.NoAnswer(fmt.Errorf("postgres: %s: the branch's row has just been dropped", d.id))
}

// attest votes for a branch whose session is not here: commit if it is prepared, and
// otherwise abort for the reason given, after it has been made sure that it can be
// prepared no more.
func (d *Database) attest(ctx context.Context, b dtc.Branch, reason error) (dtc.Vote, error) {
	listed, err := d.listed(ctx, b)
	if err != nil || listed {
		return vote(listed), err
	}
	state, err := d.seal(ctx, b)
	switch {
	case err != nil:
		return dtc.VoteAbort, dtc.NoAnswer(err)
	case state == stateCommitted:
		return dtc.VoteCommit, nil // it was prepared, and committed by a decision that came before
	}
	return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, reason))
}

// listed reports whether the branch is prepared. Its error is no answer.
func (d *Database) listed(ctx context.Context, b dtc.Branch) (bool, error) {
	var standby, listed bool
	err := d.finish.QueryRow(ctx, `SELECT pg_is_in_recovery(), EXISTS (SELECT 1 FROM pg_prepared_xacts
		WHERE gid = $1 AND database = current_database())`, Name(b.XID, b.Participant)).Scan(&standby, &listed)
	switch {
	case err != nil:
		return false, d.noAnswer("look for the prepared transaction", err)
	case standby:
		return false, dtc.NoAnswer(fmt.Errorf("postgres: %s: the server is a standby", d.id))
	}
	return listed, nil
}
