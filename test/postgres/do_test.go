package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

const notPrepared = "0A000"

// TestDo: with a database that prepares every branch, and one that commits in one phase what
// can be.
func TestDo(t *testing.T) {
	w, v := newWorld(t, servers.SharedPostgres(t)), newWorld(t, servers.SharedPostgres(t))
	other := v.participant(t, "payment", nil)
	errNo := errors.New("out of stock")

	tests := []struct {
		name string
		fn   func(ctx context.Context, tx *dtc.Tx) error
		want error // nil: committed
		text string
		rows int // tokens in w
	}{
		{name: "commits both", rows: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			if err := w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) }); err != nil {
				return err
			}
			return other.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
		}},
		{name: "goes on with the same transaction", rows: 2, fn: func(ctx context.Context, tx *dtc.Tx) error {
			var pids [2]int
			for i := range pids {
				if err := w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
					if err := q.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pids[i]); err != nil {
						return err
					}
					return insert(ctx, q, tx.XID())
				}); err != nil {
					return err
				}
			}
			if pids[0] != pids[1] {
				return fmt.Errorf("two connections: %v", pids)
			}
			return nil
		}},
		{name: "goes on from several goroutines", rows: 8, fn: func(ctx context.Context, tx *dtc.Tx) error {
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				wg.Go(func() {
					errs[i] = w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
				})
			}
			wg.Wait()
			return errors.Join(errs...)
		}},
		{name: "only reads", fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				var n int
				return q.QueryRow(ctx, "SELECT count(*) FROM token").Scan(&n)
			})
		}},
		{name: "locks, which is not only reading", fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				_, err := q.Exec(ctx, "SELECT * FROM token FOR UPDATE")
				return err
			})
		}},
		{name: "fails", want: errNo, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				return errors.Join(insert(ctx, q, tx.XID()), errNo)
			})
		}},
		{name: "fails and goes on", want: errNo, fn: func(ctx context.Context, tx *dtc.Tx) error {
			_ = w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return errNo })
			return nil
		}},
		{name: "swallows the error of a statement", want: dtc.ErrRolledBack, text: "use a savepoint", fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				err := insert(ctx, q, tx.XID())
				_, _ = q.Exec(ctx, "SELECT * FROM there_is_none")
				return err
			})
		}},
		{name: "a savepoint takes the error of a statement", rows: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				_ = pgx.BeginFunc(ctx, q, func(q pgx.Tx) error {
					_, err := q.Exec(ctx, "SELECT * FROM there_is_none")
					return err
				})
				return insert(ctx, q, tx.XID())
			})
		}},
		{name: "wants to commit by itself", rows: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				if err := q.Commit(ctx); err == nil {
					return errors.New("the branch was committed by the function")
				}
				return insert(ctx, q, tx.XID())
			})
		}},
		{name: "what cannot be prepared", want: dtc.ErrRolledBack, text: notPrepared, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				_, err := q.Exec(ctx, "CREATE TEMP TABLE x (n int)")
				return err
			})
		}},
		{name: "a constraint that waits for the end", want: dtc.ErrRolledBack, text: "23503", fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
				_, err := q.Exec(ctx, "INSERT INTO child (parent) VALUES (1)")
				return err
			})
		}},
	}
	w.exec(t, "CREATE TABLE parent (id int PRIMARY KEY)")
	w.exec(t, "CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
	for _, db := range []*postgres.Database{w.db, w.one} {
		once := db == w.one
		w.db = db
		c := open(t, w.db, other)
		for i, tt := range tests {
			if once && tt.text == notPrepared {
				tt.want, tt.text = nil, "" // nor need it be
			}
			t.Run(fmt.Sprintf("%s/once=%v", tt.name, once), func(t *testing.T) {
				var xid dtc.XID
				err := c.Run(t.Context(), dtc.TxID(fmt.Sprintf("do-%d", i)), func(ctx context.Context, tx *dtc.Tx) error {
					xid = tx.XID()
					return tt.fn(ctx, tx)
				})
				if !errors.Is(err, tt.want) || tt.want != nil && !errors.Is(err, dtc.ErrRolledBack) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %v does not say %q", err, tt.text)
				}
				eventually(t, "the transaction ends", func() bool { return c.Stats().Unfinished == 0 })
				if n := w.count(t, "SELECT count(*) FROM token WHERE xid = $1", xid.String()); n != tt.rows {
					t.Errorf("%d rows, want %d", n, tt.rows)
				}
				w.clean(t)
				v.clean(t)
			})
		}
	}
}

// TestDoPanics: a panic of the function rolls everything back, and goes on.
func TestDoPanics(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
		eventually(t, "the transaction ends", func() bool { return c.Stats().Unfinished == 0 })
		if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
			t.Errorf("%d rows", n)
		}
		w.clean(t)
	}()
	_ = c.Run(t.Context(), "panics", func(ctx context.Context, tx *dtc.Tx) error {
		return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
			if err := insert(ctx, q, tx.XID()); err != nil {
				return err
			}
			panic("on purpose")
		})
	})
}

// TestWorkOfADeadProcess: a branch was enlisted and its process is gone.
func TestWorkOfADeadProcess(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	err := c.Run(t.Context(), "gone", func(_ context.Context, tx *dtc.Tx) error { return tx.Enlist("orders", nil) })
	if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "the work of this branch is not there") {
		t.Errorf("error %v", err)
	}
}

// TestRefuses: a server that cannot keep the promises is refused, with the remedy.
func TestRefuses(t *testing.T) {
	server := servers.Postgres(t)
	for _, tt := range []struct{ setting, back, want string }{
		{"fsync=off", "fsync=on", "ALTER SYSTEM SET fsync = on"},
		{"max_prepared_transactions=0", "max_prepared_transactions=64", "ALTER SYSTEM SET max_prepared_transactions = 200; then restart"},
		{"synchronous_commit=off", "synchronous_commit=on", "SET synchronous_commit = on"},
		{"full_page_writes=off", "full_page_writes=on", "full_page_writes"},
	} {
		t.Run(tt.setting, func(t *testing.T) {
			server.Stop(t)
			server.Reconfigure(tt.setting)
			server.Start(t)
			server.Reconfigure(tt.back)
			_, err := postgres.Open(t.Context(), "orders", openPool(t, server.DSN("")), nil)
			if !errors.Is(err, postgres.ErrUnusable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// TestDoGivesUp: a function was not called, because another one was in the branch for too
// long. What it would have done is missing, so nothing is committed.
func TestDoGivesUp(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	err := c.Run(t.Context(), "gives-up", func(outer context.Context, tx *dtc.Tx) error {
		return w.db.Do(outer, tx, func(ctx context.Context, q pgx.Tx) error {
			over, cancel := context.WithCancel(outer)
			cancel()
			err := w.db.Do(over, tx, func(context.Context, pgx.Tx) error { t.Error("it was called"); return nil })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			return insert(ctx, q, tx.XID())
		})
	})
	if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "was not called") {
		t.Errorf("error %v", err)
	}
	if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
	w.clean(t)
}
