package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// The statements at which connections are lost.
const (
	atProof    = "INSERT INTO public.dtc_branch" // also the row that is written with the vote for an adopted branch
	atPrepare  = "PREPARE TRANSACTION 'dtc."
	atCommit   = "COMMIT PREPARED"
	atRollback = "ROLLBACK PREPARED"
	atSeal     = "'rolled_back') ON CONFLICT" // the row of a branch that was rolled back
)

// ways are how the work of a branch is done: it inserts its XID.
var ways = map[string]func(ctx context.Context, p *proxied, tx *dtc.Tx) error{
	"Do": func(ctx context.Context, p *proxied, tx *dtc.Tx) error {
		return p.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
	},
	"Statements": func(_ context.Context, _ *proxied, tx *dtc.Tx) error {
		return tx.Enlist("orders", statements(postgres.Statement{SQL: "INSERT INTO token (xid) VALUES ($1)", Args: args(tx.XID().String())}))
	},
	// Whoever prepares a branch does not know what became of it when the connection is lost,
	// and leaves that to the coordinator.
	"Adopted": func(ctx context.Context, p *proxied, tx *dtc.Tx) error {
		if err := tx.Enlist("orders", []byte(`{"adopted":true}`)); err != nil {
			return err // enlisted before it is prepared: so nobody takes it for an orphan
		}
		conn, err := pgx.Connect(ctx, p.dsn)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		for _, sql := range []string{"BEGIN", "INSERT INTO token (xid) VALUES ('" + tx.XID().String() + "')"} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return err
			}
		}
		soon, cancel := context.WithTimeout(ctx, wire.GiveUp)
		defer cancel()
		_, _ = conn.Exec(soon, "PREPARE TRANSACTION '"+postgres.Name(tx.XID(), "orders")+"'")
		return nil
	},
}

// TestWindows loses the connection to the server at each statement that moves a branch on,
// before the server has seen it and after it has done it, for good or for a while.
func TestWindows(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	var wg sync.WaitGroup
	few := make(chan struct{}, 12)
	windows := int64(0)
	for mode, all := range map[string][]string{
		"cache_statement": {atProof, atPrepare, atCommit, atRollback, atSeal},
		"exec":            {atPrepare}, // there the proof and the prepare are one message
	} {
		for way := range ways {
			for _, at := range all {
				for _, f := range wire.Faults() {
					windows++
					wg.Go(func() {
						few <- struct{}{}
						defer func() { <-few }()
						if err := w.window(t, mode, way, at, f); err != nil {
							t.Errorf("%s, %s, %s at %s: %v", mode, way, f, at, err)
						}
					})
				}
			}
		}
	}
	wg.Wait()
	w.clean(t)
	tally.Add(t, "databases", "PostgreSQL: statements at which a connection was lost on purpose", windows, 72)
}

// commits says how a transaction ends if all others are willing.
func commits(mode, way, at string, f wire.Fault) bool {
	switch {
	case at == atCommit, f == wire.CutReply && at != atRollback && at != atSeal:
		return true
	case at == atRollback, at == atSeal:
		return false
	case f == wire.StallReply, way == "Adopted" && at == atProof: // it is asked again
		return true
	case way == "Statements":
		// They are executed again, unless a session that is still there has inserted the row.
		return f == wire.CutRequest || at == atProof || mode == "exec"
	}
	return false // the work is lost
}

func (w *world) window(t *testing.T, mode, way, at string, f wire.Fault) error {
	p, err := w.proxy(t, "orders", "&default_query_exec_mode="+mode)
	if err != nil {
		return err
	}
	defer p.close()
	willing := at == atProof || at == atPrepare || at == atCommit
	var gid string
	other := dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
		if willing {
			return dtc.VoteCommit, nil
		}
		// Not before there is something to roll back.
		return dtc.VoteAbort, poll(ctx, func() (bool, error) { return w.listed(gid) })
	}}
	c, err := dtc.Open(t.TempDir(), &dtc.Config{Participants: []dtc.Participant{p.db, other}, SweepInterval: 200 * time.Millisecond, Timing: wire.Patience(f)})
	if err != nil {
		return err
	}
	defer c.Close()

	trap := p.proxy.Arm(at, 2, f)
	want := []bool{willing, commits(mode, way, at, f), willing}
	for i, commit := range want {
		var xid dtc.XID
		opts := &dtc.TxOptions{CompletionWait: -1}
		if i == 1 && !commit && f == wire.StallRequest {
			opts.PrepareTimeout = 2 * wire.GiveUp // nobody will ever vote
		}
		err := c.RunWith(t.Context(), dtc.TxID(fmt.Sprintf("tx-%d", i)), opts, func(ctx context.Context, tx *dtc.Tx) error {
			xid, gid = tx.XID(), postgres.Name(tx.XID(), "orders")
			return errors.Join(tx.Enlist("other", nil), ways[way](ctx, p, tx))
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
			if f == wire.StallRequest && (at == atPrepare || at == atProof) {
				// Everybody has given up on it before the server sees it.
				err := poll(t.Context(), func() (bool, error) { return c.Stats().Unfinished == 0, nil })
				if err != nil {
					return err
				}
			}
			trap.Release()
			<-trap.Done()
		}
		if err := w.truth(c, dtc.TxID(fmt.Sprintf("tx-%d", i)), xid, commit); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	return nil
}

// truth waits until a transaction has come to rest, and holds what was told of it against
// the rows, what is prepared, and what the coordinator says.
func (w *world) truth(c *dtc.Coordinator, id dtc.TxID, xid dtc.XID, committed bool) error {
	ctx := context.Background()
	err := poll(ctx, func() (bool, error) {
		if c.Stats().Unfinished > 0 {
			return false, nil
		}
		held, err := w.listed(postgres.Name(xid, "orders"))
		return !held, err
	})
	if err != nil {
		info, _ := c.Transaction(id)
		return fmt.Errorf("it does not come to rest: %w: %+v", err, info)
	}
	var rows int
	if err := w.pool.QueryRow(ctx, "SELECT count(*) FROM token WHERE xid = $1", xid.String()).Scan(&rows); err != nil {
		return err
	}
	o, err := c.Outcome(ctx, id)
	if err != nil || (o == dtc.Committed) != committed || !committed && o != dtc.RolledBack || committed != (rows == 1) || rows > 1 {
		return fmt.Errorf("told committed: %v; rows: %d, outcome: %v, %w", committed, rows, o, err)
	}
	return nil
}
