package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dtc-project/dtc"
)

var (
	errClosed = errors.New("the database was closed as a participant")
	errOver   = errors.New("the transaction has ended")
	errMissed = errors.New("a function given to Do was not called: another call was in the branch until its context ended, or had made the call itself")
	errWithin = errors.New("a function given to Do has called Do for the same branch, which would wait for itself: use the branch that it was given")
)

// session is a branch on its connection, from its first statement until it is finished
// or rolled back.
type session struct {
	sem    chan struct{} // held by whoever uses what follows
	ctx    context.Context
	cancel context.CancelFunc // ends what the application does in it
	missed atomic.Bool        // a call of Do gave up before its function was called

	conn     *sql.Conn // nil before it has begun and after it has ended
	name     string    // as the XA statements take it
	tx       *Tx
	done     bool // it has worked for calls of Do: nobody else has this work
	prepared bool
	voted    bool  // that was answered
	unclean  bool  // it has ended, and may still be there for a moment
	err      error // it must not be prepared, or has ended
}

func newSession() *session {
	s := &session{sem: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *session) lock(ctx context.Context) error {
	select {
	case s.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) unlock() { <-s.sem }

// end rolls back what the session has done, unless it was prepared, and closes its
// connection. The caller holds the session. err is what a later use of it is told. It
// reports whether it is certain that nothing is held any more: an end that is not orderly
// is left to the server, which comes to it when it notices.
func (s *session) end(err error) (clean bool) {
	if s.err == nil {
		s.err = err
	}
	s.cancel()
	if s.conn == nil {
		return !s.unclean
	}
	conn := s.conn
	s.conn = nil
	s.unclean = s.prepared || !s.undo(conn)
	s.prepared = false
	drop(conn)
	return !s.unclean
}

// undo rolls a branch back that is not prepared.
func (s *session) undo(conn *sql.Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	// Refused if it has ended already, and of the victim of a deadlock.
	_, _ = conn.ExecContext(ctx, "XA END "+s.name)
	_, err := conn.ExecContext(ctx, "XA ROLLBACK "+s.name)
	return err == nil
}

// giveBack ends the session of a branch of which the server has said, here, that it has
// ended. Nothing of it is left on the connection, which goes back to its pool.
func (d *Database) giveBack(s *session) {
	s.err = errOver
	s.cancel()
	if d.opts.FreshSessions {
		drop(s.conn)
	} else {
		_ = s.conn.Close()
	}
	s.conn, s.prepared = nil, false
}

// drop takes a connection out of its pool and closes it.
func drop(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// Do calls fn with a branch of the database, on a connection that is kept for it, and
// enlists this participant. Called again in the same distributed transaction it goes on
// with the same branch; two calls at once wait for one another. The branch is prepared
// when the function given to [dtc.Coordinator.Run] has returned.
//
// If fn fails, or panics, or could not be called, or a statement of the [Tx] fails, the whole
// transaction will be rolled back, even if the caller of Do goes on. The errors of statements are
// [*ServerError]s, from which errors.As gets the driver's own. The context given to fn ends with ctx and
// when the transaction is rolled back under it. A call of Do with it, for the same branch,
// fails: it would wait for itself.
func (d *Database) Do(ctx context.Context, tx *dtc.Tx, fn func(ctx context.Context, q *Tx) error) error {
	// The session stands in the table before the branch is enlisted: from then on it
	// may be rolled back, and whoever does that must find it. It is enlisted whatever fails:
	// so this participant is asked whether the id was committed before.
	xid := tx.XID()
	s, made, failed := d.session(xid)
	if err := tx.Enlist(d.id, nil); err != nil {
		if made {
			d.forget(xid, s)
		}
		return err
	}
	if failed != nil {
		return failed
	}
	if ctx.Value(s) != nil {
		s.missed.Store(true)
		return fmt.Errorf("mysql: %s: %w", d.id, errWithin)
	}
	if err := s.lock(ctx); err != nil {
		s.missed.Store(true)
		return err
	}
	defer s.unlock()
	return d.do(ctx, dtc.Branch{XID: xid, Participant: d.id}, s, fn)
}

// do runs fn in the session, which the caller holds.
func (d *Database) do(ctx context.Context, b dtc.Branch, s *session, fn func(ctx context.Context, q *Tx) error) (err error) {
	if s.err != nil {
		return fmt.Errorf("mysql: %s: %w", d.id, s.err)
	}
	if s.prepared {
		return fmt.Errorf("mysql: %s: %w", d.id, errOver)
	}
	s.done = true
	if s.conn == nil {
		if err := d.beginIn(ctx, b, s); err != nil {
			s.end(err)
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.tx.ctx = ctx
	s.err = errors.New("the function given to Do panicked") // unless it returns
	err = fn(context.WithValue(ctx, s, true), s.tx)
	s.err = err
	switch {
	case err == nil && s.ctx.Err() != nil:
		s.err = errOver
	case err == nil && s.tx.err != nil:
		s.err = fmt.Errorf("a statement of the branch failed and the function went on: %w", safe(s.tx.err))
	}
	if err == nil && s.err != nil {
		return fmt.Errorf("mysql: %s: %w", d.id, s.err)
	}
	return s.err
}

func (d *Database) beginIn(ctx context.Context, b dtc.Branch, s *session) error {
	name, err := xaName(b)
	if err != nil {
		return err
	}
	conn, err := d.pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("mysql: %s: a connection of the pool: %w", d.id, safe(err))
	}
	if d.opts.Isolation != 0 {
		_, err = conn.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL "+isolations[d.opts.Isolation])
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "XA START "+name)
	}
	if err != nil {
		drop(conn)
		return fmt.Errorf("mysql: %s: begin: %w", d.id, safe(err))
	}
	s.conn, s.name, s.tx = conn, name, &Tx{ctx: s.ctx, conn: conn}
	return nil
}

// session returns the session of a transaction, made if needed.
func (d *Database) session(xid dtc.XID) (s *session, made bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, fmt.Errorf("mysql: %s: %w", d.id, errClosed)
	}
	if s = d.sessions[xid]; s == nil {
		s, made = newSession(), true
		d.sessions[xid] = s
	}
	return s, made, nil
}

// find returns the session of a transaction, or nil.
func (d *Database) find(xid dtc.XID) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[xid]
}

// forget takes a session out of the table.
func (d *Database) forget(xid dtc.XID, s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions[xid] == s {
		delete(d.sessions, xid)
	}
}
