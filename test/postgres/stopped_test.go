package postgres_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestStoppedBackend: a server process is stopped before it comes to the prepare. All
// give the branch up; then it goes on. Nothing may be left of it.
func TestStoppedBackend(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	var pid int
	var xid dtc.XID
	err := c.RunWith(t.Context(), "stopped", &dtc.TxOptions{PrepareTimeout: 700 * time.Millisecond},
		func(ctx context.Context, tx *dtc.Tx) error {
			xid = tx.XID()
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				if err := q.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
					return err
				}
				if err := insert(ctx, q, xid); err != nil {
					return err
				}
				return syscall.Kill(pid, syscall.SIGSTOP)
			})
		})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("error %v", err)
	}
	eventually(t, "it ends while the process is stopped", func() bool { return c.Stats().Unfinished == 0 })
	if n := w.count(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid); n != 1 {
		t.Fatal("the process is gone: nothing was tried")
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process ends", func() bool {
		return w.count(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0
	})
	if held, applied, err := w.effect(xid, "orders"); err != nil || held || applied > 0 {
		t.Errorf("held: %v, applied: %d, error: %v", held, applied, err)
	}
}

// TestFinishedByHand: somebody finishes a prepared branch against the decision, before it
// is carried out. It is heuristic, and neither committed nor rolled back, to the caller, in
// the outcome and in what is shown.
func TestFinishedByHand(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	t.Cleanup(func() { w.clean(t) })
	for way, work := range ways {
		for _, decision := range []dtc.Vote{dtc.VoteCommit, dtc.VoteAbort} {
			t.Run(way+"/"+decision.String(), func(t *testing.T) {
				t.Parallel() // each waits until it is sure
				verb := map[dtc.Vote]string{dtc.VoteCommit: "ROLLBACK", dtc.VoteAbort: "COMMIT"}[decision]
				meddler := byHand{w.db, func(b dtc.Branch) {
					w.exec(t, verb+" PREPARED '"+postgres.Name(b.XID, "orders")+"'")
				}}
				var gid string
				c := open(t, meddler, w.between(&gid, decision, func() {
					if way == "Adopted" { // before the vote is noted a hand leaves no trace
						eventually(t, "the vote is noted", func() bool { return w.count(t, "SELECT count(*) FROM dtc_branch WHERE name = $1", gid) == 1 })
					}
				}))
				front := &proxied{dsn: w.dsn, db: w.db}
				err := c.Run(t.Context(), "by-hand", func(ctx context.Context, tx *dtc.Tx) error {
					gid = postgres.Name(tx.XID(), "orders")
					return errors.Join(tx.Enlist("other", nil), work(ctx, front, tx))
				})
				var heuristic *dtc.HeuristicError
				if decision == dtc.VoteCommit && !errors.As(err, &heuristic) { // a rollback is told at once
					t.Errorf("error %v, want a *dtc.HeuristicError", err)
				}
				eventually(t, "it is shown", func() bool {
					info, err := c.Transaction("by-hand")
					return err == nil && info.State == "heuristic"
				})
				if o, err := c.Outcome(t.Context(), "by-hand"); o != dtc.Heuristic {
					t.Errorf("outcome %v, %v", o, err)
				}
			})
		}
	}
}

// byHand meddles with a branch before its commit comes.
type byHand struct {
	*postgres.Database
	meddle func(dtc.Branch)
}

func (p byHand) Commit(ctx context.Context, b dtc.Branch) error {
	if b.Attempt == 1 {
		p.meddle(b)
	}
	return p.Database.Commit(ctx, b)
}

func (p byHand) Rollback(ctx context.Context, b dtc.Branch) error {
	if b.Attempt == 1 {
		p.meddle(b)
	}
	return p.Database.Rollback(ctx, b)
}

// TestAdopted: somebody else does the work and prepares it under the name.
func TestAdopted(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	for _, prepared := range []bool{true, false} {
		var xid dtc.XID
		id := dtc.TxID("adopted")
		if !prepared {
			id = "not-there"
		}
		err := c.Run(t.Context(), id, func(ctx context.Context, tx *dtc.Tx) error {
			xid = tx.XID()
			if err := tx.Enlist("orders", []byte(`{"adopted":true}`)); err != nil || !prepared {
				return err
			}
			conn, err := w.pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			for _, sql := range []string{
				"BEGIN", "INSERT INTO token VALUES ('" + xid.String() + "')",
				"PREPARE TRANSACTION '" + postgres.Name(xid, "orders") + "'",
			} {
				if _, err := conn.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		})
		if prepared != (err == nil) {
			t.Errorf("prepared: %v, error: %v", prepared, err)
		}
		eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
		if _, applied, err := w.effect(xid, "orders"); err != nil || (applied == 1) != prepared {
			t.Errorf("prepared: %v, applied: %d, error: %v", prepared, applied, err)
		}
		w.clean(t)
	}
}

// TestStoppedAdopter: the server process of somebody who prepares by himself is stopped
// before it comes to the prepare. All give the branch up, and then it is prepared all the
// same: it is found and rolled back.
func TestStoppedAdopter(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	pid := int(conn.PgConn().PID())
	var xid dtc.XID
	prepared := make(chan error, 1)
	err = c.Run(t.Context(), "stopped", func(ctx context.Context, tx *dtc.Tx) error {
		xid = tx.XID()
		if err := tx.Enlist("orders", []byte(`{"adopted":true}`)); err != nil {
			return err
		}
		for _, sql := range []string{"BEGIN", "INSERT INTO token VALUES ('" + xid.String() + "')"} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		go func() {
			_, err := conn.Exec(context.WithoutCancel(ctx), "PREPARE TRANSACTION '"+postgres.Name(xid, "orders")+"'")
			prepared <- err
		}()
		return nil
	})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("error %v", err)
	}
	eventually(t, "it ends while the process is stopped", func() bool { return c.Stats().Unfinished == 0 })
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-prepared; err != nil {
		t.Fatalf("nothing was prepared, so nothing was tried: %v", err)
	}
	eventually(t, "it is found and rolled back", func() bool {
		held, _, err := w.effect(xid, "orders")
		return err == nil && !held
	})
	if err := w.truth(c, "stopped", xid, false); err != nil {
		t.Error(err)
	}
}
