package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// The statements at which connections are lost.
const (
	atPrepare  = "XA PREPARE"
	atCommit   = "XA COMMIT"
	atRollback = "XA ROLLBACK"
	atSeal     = "'rolled_back', 0, 0)" // the row of a branch that was rolled back
	atFence    = "KILL CONNECTION"
	atAlone    = "GET_LOCK('dtc."
)

// proxied is the database of a world behind a proxy that loses connections.
type proxied struct {
	proxy *wire.Proxy
	pool  *sql.DB
	db    *mysql.Database
}

// through opens the database as the participant orders behind a proxy of its own.
func (w *world) through(t *testing.T, protocol wire.Protocol) *proxied {
	t.Helper()
	proxy, err := wire.New(protocol, w.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	c := connector(t, w.server.Through(proxy.Port(), w.name))
	p := &proxied{proxy: proxy, pool: openPool(t, c)}
	if p.db, err = mysql.Open(t.Context(), "orders", p.pool, c, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.db.Close)
	return p
}

// ways are how the work of a branch is done: it inserts its XID.
var ways = map[string]func(ctx context.Context, p *proxied, id dtc.TxID, tx *dtc.Tx) error{
	"Do": func(ctx context.Context, p *proxied, _ dtc.TxID, tx *dtc.Tx) error {
		return p.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, tx.XID()) })
	},
	"Statements": func(_ context.Context, _ *proxied, _ dtc.TxID, tx *dtc.Tx) error {
		return tx.Enlist("orders", insertToken(tx.XID()))
	},
	// Whoever prepares a branch does not know what became of it when the connection is lost,
	// and leaves that to the coordinator.
	"Adopted": func(ctx context.Context, p *proxied, id dtc.TxID, tx *dtc.Tx) error {
		if err := tx.Enlist("orders", []byte(`{"adopted":true}`)); err != nil {
			return err // enlisted before it is prepared: so nobody takes it for an orphan
		}
		return prepareAside(ctx, p.pool, p.db, tx.XID(), id, func(q *sql.Conn) error {
			_, err := q.ExecContext(ctx, "INSERT INTO token (xid) VALUES ('"+tx.XID().String()+"')")
			return err
		})
	},
}

// TestWindows loses the connection to the server at each statement that moves a branch on,
// before the server has seen it and after it has done it, for good or for a while.
func TestWindows(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	var wg sync.WaitGroup
	few := make(chan struct{}, 8) // the server has not so many connections
	windows := int64(0)
	for way := range ways {
		for _, at := range []string{atPrepare, atCommit, atRollback, atSeal, atFence, atAlone} {
			if way != "Adopted" && (at == atFence || at == atAlone) {
				continue // its own session finishes it
			}
			for _, f := range wire.Faults() {
				windows++
				p := w.through(t, wire.MySQL)
				p.pool.SetMaxOpenConns(4)
				wg.Go(func() {
					few <- struct{}{}
					defer func() { <-few }()
					if err := w.window(t, p, way, at, f); err != nil {
						t.Errorf("%s, %s at %s: %v", way, f, at, err)
					}
					p.db.Close()
					_ = p.pool.Close()
				})
			}
		}
	}
	wg.Wait()
	w.clean(t)
	tally.Add(t, "databases", "MariaDB: statements at which a connection was lost on purpose", windows, 56)
}

// commits says how a transaction ends if all others are willing.
func commits(way, at string, f wire.Fault) bool {
	switch {
	case at == atFence && f == wire.StallRequest:
		return false // whoever is alone with the branch seems to be there still
	case at != atPrepare, f == wire.CutReply, f == wire.StallReply:
		return true // it is asked again
	case f == wire.CutRequest:
		return way == "Statements" // which are executed again, unless their session is still there
	}
	return false // the work is lost
}

func (w *world) window(t *testing.T, p *proxied, way, at string, f wire.Fault) error {
	willing := at != atRollback && at != atSeal
	var xid dtc.XID
	other := dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
		if willing {
			return dtc.VoteCommit, nil
		}
		return dtc.VoteAbort, poll(ctx, func() (bool, error) { // not before there is something to roll back
			held, _, err := w.effect(xid, "orders")
			return held, err
		})
	}}
	c, err := dtc.Open(t.TempDir(), &dtc.Config{
		Participants: []dtc.Participant{p.db, other}, SweepInterval: 200 * time.Millisecond,
		Timing: wire.Patience(f),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	var trap *wire.Trap
	for i, commit := range []bool{willing, willing && commits(way, at, f), willing} {
		id := dtc.TxID(fmt.Sprintf("tx-%d", i))
		if i == 1 {
			trap = p.proxy.Arm(at, 1, f)
		}
		opts := &dtc.TxOptions{CompletionWait: -1}
		if i == 1 && willing && !commit && f == wire.StallRequest {
			opts.PrepareTimeout = 2 * wire.GiveUp // nobody will ever vote
		}
		err := c.RunWith(t.Context(), id, opts, func(ctx context.Context, tx *dtc.Tx) error {
			xid = tx.XID()
			return errors.Join(tx.Enlist("other", nil), ways[way](ctx, p, id, tx))
		})
		switch {
		case commit && err != nil:
			return fmt.Errorf("transaction %d was to commit: %w", i, err)
		case !commit && !errors.Is(err, dtc.ErrRolledBack):
			return fmt.Errorf("transaction %d was to be rolled back: error %w", i, err)
		}
		if i == 1 {
			select {
			case <-trap.Hit():
			case <-time.After(wire.Enough):
				return errors.New("nothing was lost")
			}
			if f == wire.StallRequest && at == atPrepare {
				// Everybody has given up on it before the server sees it.
				if err := poll(t.Context(), func() (bool, error) { return c.Stats().Unfinished == 0, nil }); err != nil {
					return err
				}
			}
			trap.Release()
			<-trap.Done()
		}
		if err := w.truth(c, id, xid, commit); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	return nil
}

// truth waits until a transaction has come to rest, and holds what was told of it against
// the rows, what is prepared, and what the coordinator says.
func (w *world) truth(c *dtc.Coordinator, id dtc.TxID, xid dtc.XID, committed bool) error {
	ctx := context.Background()
	var rows int
	err := poll(ctx, func() (rest bool, err error) {
		if c.Stats().Unfinished > 0 {
			return false, nil
		}
		held, n, err := w.effect(xid, "orders")
		rows = n
		return !held, err
	})
	if err != nil {
		info, _ := c.Transaction(id)
		return fmt.Errorf("it does not come to rest: %w: %+v", err, info)
	}
	o, err := c.Outcome(ctx, id)
	if err != nil || (o == dtc.Committed) != committed || !committed && o != dtc.RolledBack || committed != (rows == 1) || rows > 1 {
		return fmt.Errorf("told committed: %v; rows: %d, outcome: %v, %w", committed, rows, o, err)
	}
	return nil
}

var errNever = errors.New("it never happened")

// poll waits until something is so.
func poll(ctx context.Context, is func() (bool, error)) error {
	for range 3000 {
		if yes, err := is(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errNever
}
