package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dtc-project/dtc"
)

var (
	errGone = errors.New("the work of this branch is not there: it has no payload, and was done by a process that has ended, or on a connection that was lost, or never")
	errBare = errors.New("no branch is prepared under this name with its row (see Proof)")
)

// Prepare implements [dtc.Participant].
func (d *Database) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	d.noteLowWater(b)
	if before, err := d.committedBefore(ctx, b); err != nil || before {
		return d.undone(ctx, b, err)
	}
	if len(b.Payload) == 0 {
		s := d.find(b.XID)
		if s == nil {
			return d.attest(ctx, b, errGone)
		}
		return d.prepareSession(ctx, b, s)
	}
	p, err := parsePayload(b.Payload)
	if err != nil {
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("mysql: %s: %w", d.id, err))
	}
	if p.Adopted {
		return d.attest(ctx, b, errBare)
	}
	return d.withSession(ctx, b, func(s *session) (dtc.Vote, error) { return d.statements(ctx, b, s, p.Statements) })
}

// withSession calls fn with a session for a branch of plain statements, and ends it unless
// it is prepared then. A call for the same branch that is under way in this process is
// waited for.
func (d *Database) withSession(ctx context.Context, b dtc.Branch, fn func(s *session) (dtc.Vote, error)) (dtc.Vote, error) {
	for {
		s, _, err := d.session(b.XID)
		if err != nil {
			return dtc.VoteAbort, err
		}
		if err := s.lock(ctx); err != nil {
			return dtc.VoteAbort, dtc.NoAnswer(err)
		}
		if s.err != nil { // it ended while this call waited
			s.unlock()
			d.forget(b.XID, s)
			continue
		}
		v, err := fn(s)
		if !s.prepared {
			s.end(errOver)
			d.forget(b.XID, s)
		}
		s.unlock()
		return v, err
	}
}

// statements executes and prepares a branch of plain statements. What another call has left
// is looked at first, since the statements would wait for its locks.
func (d *Database) statements(ctx context.Context, b dtc.Branch, s *session, list []Statement) (dtc.Vote, error) {
	if s.prepared {
		return d.vote(ctx, b, s)
	}
	if s.conn == nil {
		switch st, err := d.before(ctx, b); {
		case err != nil:
			return dtc.VoteAbort, err
		case st == held, st == committed:
			return dtc.VoteCommit, nil
		case st == rolledBack:
			return dtc.VoteAbort, d.rolledBefore()
		}
		if err := d.beginIn(ctx, b, s); err != nil {
			return dtc.VoteAbort, dtc.NoAnswer(err)
		}
	}
	if err := d.doStatements(ctx, s, list); err != nil {
		clean := s.end(err)
		if isTransient(err) {
			return dtc.VoteAbort, dtc.NoAnswer(err) // tried again: nothing was prepared
		}
		return dtc.VoteAbort, refused(clean, err)
	}
	return d.prepare(ctx, b, s)
}

// doStatements executes the statements of a branch in its session, which has begun.
func (d *Database) doStatements(ctx context.Context, s *session, list []Statement) error {
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // a rollback that overtakes
	s.tx.ctx = working
	if err := execStatements(working, s.tx, list); err != nil {
		return fmt.Errorf("mysql: %s: %w", d.id, err)
	}
	return nil
}

// prepareSession prepares what was done in calls of Do.
func (d *Database) prepareSession(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	if err := s.lock(ctx); err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err) // a function given to Do still runs
	}
	defer s.unlock()
	switch {
	case s.prepared:
		return d.vote(ctx, b, s)
	case d.find(b.XID) != s: // it ended while this call waited
		return d.attest(ctx, b, errGone)
	}
	defer func() {
		if !s.prepared {
			d.forget(b.XID, s)
		}
	}()
	if s.err == nil && s.missed.Load() {
		s.err = errMissed
	}
	switch {
	case s.err != nil:
		err := s.err
		return dtc.VoteAbort, refused(s.end(err), fmt.Errorf("mysql: %s: %w", d.id, err))
	case s.conn == nil: // enlisted, and nothing was done
		s.end(errOver)
		return dtc.VoteReadOnly, nil
	}
	return d.prepare(ctx, b, s)
}

// prepare proves and prepares the session's branch. The session stays with it: only
// there can the branch be finished at once. The caller holds it.
func (d *Database) prepare(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	abort := func(doing string, err error) (dtc.Vote, error) {
		clean := s.end(errOver)
		err = d.failed(doing, err)
		if isTransient(err) && len(b.Payload) > 0 {
			return dtc.VoteAbort, dtc.NoAnswer(err) // the statements are executed again
		}
		return dtc.VoteAbort, refused(clean, err)
	}
	switch reads, err := d.onlyReads(ctx, s); {
	case err != nil:
		return abort("prepare", err)
	case reads:
		return dtc.VoteReadOnly, nil
	}
	row, err := d.q.insert(b, stateCommitted, startVariable)
	if err != nil {
		return abort("prepare", err)
	}
	steps := []string{row, "XA END " + s.name, "XA PREPARE " + s.name}
	if d.q.mariadb {
		steps = append([]string{unlessRemembered}, steps...)
	}
	err = d.execute(ctx, s.conn, steps...)
	if number(err) == codeNull { // the session's first branch: the variable is not set
		err = d.execute(ctx, s.conn, append([]string{d.q.remember()}, steps...)...)
	}
	switch {
	case number(err) == codeDuplicate:
		s.end(errOver)
		return d.ended(ctx, b)
	case gone(err):
		// It may or may not be prepared, now or when the server comes to it. The next
		// call finds out, after it has ended the session: nothing is undone here.
		conn := s.conn
		s.conn, s.unclean = nil, true
		s.end(errOver)
		drop(conn)
		return dtc.VoteAbort, d.noAnswer("prepare", err)
	case err != nil:
		return abort("prepare", err)
	}
	s.prepared = true
	return d.vote(ctx, b, s)
}

// onlyReads reports whether the session's branch has only read, and ends it if so.
func (d *Database) onlyReads(ctx context.Context, s *session) (bool, error) {
	reads, err := s.tx.readOnly(ctx)
	if err != nil || !reads {
		return false, err
	}
	if s.undo(s.conn) {
		d.giveBack(s)
	} else {
		s.end(errOver)
	}
	return true, nil
}

// vote votes for a branch that is prepared. Low water is read elsewhere, because the branch
// may see the state of its beginning; and after the row stands: a rollback that has let low
// water pass has either met the row, or stored what is read now.
func (d *Database) vote(ctx context.Context, b dtc.Branch, s *session) (dtc.Vote, error) {
	if s.voted {
		return dtc.VoteCommit, nil
	}
	low, err := d.freshLowWater(ctx, b.XID.Log)
	switch {
	case err != nil:
		return dtc.VoteAbort, err // asked again, when it is prepared
	case low.IsZero() || b.XID.Compare(low) >= 0:
		s.voted = true
		return dtc.VoteCommit, nil
	}
	_, err = s.conn.ExecContext(ctx, xaRollback+s.name)
	s.prepared = err != nil
	s.end(errOver)
	return dtc.VoteAbort, refused(err == nil, fmt.Errorf("mysql: %s: the transaction is over (below low water)", d.id))
}

// execute executes statements one after the other until one fails, in one message if the
// server can.
func (d *Database) execute(ctx context.Context, q querier, list ...string) error {
	if d.q.mariadb {
		list = []string{"BEGIN NOT ATOMIC " + strings.Join(list, "; ") + "; END"}
	}
	for _, sql := range list {
		if _, err := q.ExecContext(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// Proof returns the statement that writes the row of a branch which somebody else does
// and prepares, its last before XA END; see [Adopted]. It is for this database, whose
// tables' names stand in it.
func (d *Database) Proof(xid dtc.XID, id dtc.TxID) (string, error) {
	return d.q.insert(dtc.Branch{XID: xid, Participant: d.id, TxID: id}, stateCommitted, d.q.start)
}
