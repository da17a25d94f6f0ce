package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
)

var (
	errClosed   = errors.New("the database was closed as a participant")
	errOver     = errors.New("the transaction has ended")
	errPanicked = errors.New("the function given to Do panicked")
	errMissed   = errors.New("a function given to Do was not called: another call was in the branch until its context ended, or had made the call itself")
	errWithin   = errors.New("a function given to Do has called Do for the same branch, which would wait for itself: use the transaction that it was given")
)

// session is a branch's transaction on its connection, from its first statement until
// it is prepared or rolled back.
type session struct {
	sem    chan struct{} // held by whoever uses what stands from conn on
	missed atomic.Bool   // a call of Do gave up before its function was called
	turn   atomic.Uint64 // goes up when a function begins and when it returns

	mu   sync.Mutex
	over bool               // the application is to do no more in it
	stop context.CancelFunc // ends what it does; nil if it does nothing

	conn   *pgxpool.Conn   // nil before it is needed and after the end
	ctx    context.Context // of the last call of Do
	tx     pgx.Tx          // nil before the first statement
	broken error           // it could not be begun
	sent   bool            // COMMIT was sent
	err    error           // it must not be prepared, or has ended
}

func newSession() *session { return &session{sem: make(chan struct{}, 1)} }

func (s *session) lock(ctx context.Context) error {
	select {
	case s.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) unlock() { <-s.sem }

// cancel ends what the application does in the session, and lets it do no more.
func (s *session) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.stop != nil {
		s.stop()
	}
}

// during says how to end what the application does from now on, nil if that is nothing. It
// returns whether it is to do no more.
func (s *session) during(stop context.CancelFunc) (over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop = stop; stop != nil && s.over {
		stop()
	}
	return s.over
}

// end rolls back what the session has done, unless it was prepared, and gives its
// connection back if it is clean. The caller holds the session. err is what a later
// use of it is told.
func (s *session) end(err error) {
	if s.err == nil {
		s.err = err
	}
	s.cancel()
	if s.conn == nil {
		return
	}
	conn := s.conn
	s.conn, s.tx = nil, nil
	if c := conn.Conn(); !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		// Nothing is lost by closing: the server rolls back. An orderly end only
		// saves the connection, so it must be quick.
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		_, rerr := c.Exec(ctx, "ROLLBACK")
		cancel()
		if rerr != nil || c.PgConn().TxStatus() != 'I' {
			drop(c)
		}
	}
	conn.Release() // which closes it, should it not be idle
}

// drop closes a connection at once.
func drop(c *pgx.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Close(ctx)
}

// Do calls fn with a transaction of the database, on a connection that is kept for it,
// and enlists this participant. Called again in the same distributed transaction it
// goes on with the same database transaction; two calls at once wait for one another.
// The database transaction is prepared when the function given to [dtc.Coordinator.Run]
// has returned.
//
// If fn fails, or panics, or could not be called, the whole transaction will be rolled
// back, even if the caller of Do goes on. Commit and Rollback of the pgx.Tx given to fn are refused, and so are
// statements that do the same; Begin makes a savepoint. It is closed when fn has returned. The context given
// to fn ends with ctx and when the transaction is rolled back under it. A call of Do with it, for the same
// branch, fails: it would wait for itself.
func (d *Database) Do(ctx context.Context, tx *dtc.Tx, fn func(ctx context.Context, q pgx.Tx) error) error {
	// The session stands in the table before the branch is enlisted: from then on it
	// may be rolled back, and whoever does that must find it.
	xid := tx.XID()
	s, made, err := d.session(xid)
	if err != nil {
		return err
	}
	if err := tx.Enlist(d.id, nil); err != nil {
		if made {
			d.forget(xid, s)
		}
		return err
	}
	if ctx.Value(s) != nil {
		s.missed.Store(true)
		return fmt.Errorf("postgres: %s: %w", d.id, errWithin)
	}
	if err := s.lock(ctx); err != nil {
		s.missed.Store(true)
		return err
	}
	defer s.unlock()
	if s.err == nil && s.conn == nil { // before a transaction takes its snapshot
		if err := d.raiseFence(ctx, xid); err != nil {
			s.end(err)
			return err
		}
	}
	return d.do(ctx, s, fn)
}

// do runs fn in the session, which the caller holds.
func (d *Database) do(ctx context.Context, s *session, fn func(ctx context.Context, q pgx.Tx) error) (err error) {
	if s.err != nil {
		return fmt.Errorf("postgres: %s: %w", d.id, s.err)
	}
	if s.conn == nil {
		if err := d.connect(ctx, s); err != nil {
			s.end(err)
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.ctx = ctx
	s.during(cancel)
	defer s.during(nil)
	s.err = errPanicked // unless it returns
	turn := s.turn.Add(1)
	defer s.turn.Add(1)
	err = fn(context.WithValue(ctx, s, true), branchTx{d, s, turn})
	switch s.err = err; {
	case err == nil && s.broken != nil:
		s.err = s.broken
	case err == nil && s.during(nil):
		s.err = errOver
	}
	return s.err
}

// connect gives the session a connection.
func (d *Database) connect(ctx context.Context, s *session) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("postgres: %s: a connection of the pool: %w", d.id, err)
	}
	s.conn = conn
	return nil
}

// session returns the session of a transaction, made if needed.
func (d *Database) session(xid dtc.XID) (s *session, made bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, fmt.Errorf("postgres: %s: %w", d.id, errClosed)
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
