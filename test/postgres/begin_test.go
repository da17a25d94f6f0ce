package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestFirstStatement: whatever the first statement of a branch is, and however it fails, it
// is part of the branch's transaction, and what was not in order is not committed.
func TestFirstStatement(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	modes := map[string]*postgres.Database{"keeps": w.db}
	pool := openPool(t, w.dsn+"&default_query_exec_mode=exec")
	plain, err := postgres.Open(t.Context(), "plain", pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Close)
	modes["keeps-nothing"] = plain
	ins := "INSERT INTO token (xid) VALUES ($1)"
	swallow := func(ctx context.Context, q pgx.Tx, xid string, err error) error {
		var state interface{ SQLState() string }
		if !errors.As(err, &state) {
			return fmt.Errorf("not an error of the server: %w", err)
		}
		_, _ = q.Exec(ctx, ins, xid) // goes on as if nothing had been
		return nil
	}
	tests := []struct {
		name string
		fn   func(ctx context.Context, q pgx.Tx, xid string) error
		rows int // 0: rolled back
	}{
		{"exec", func(ctx context.Context, q pgx.Tx, xid string) error {
			tag, err := q.Exec(ctx, ins, xid)
			if err == nil && tag.String() != "INSERT 0 1" {
				err = fmt.Errorf("tag %v", tag)
			}
			return err
		}, 1},
		{"several statements in one", func(ctx context.Context, q pgx.Tx, xid string) error {
			_, err := q.Exec(ctx, "INSERT INTO token VALUES ('"+xid+"'); INSERT INTO token VALUES ('"+xid+"')")
			return err
		}, 2},
		{"query, read to its end", func(ctx context.Context, q pgx.Tx, xid string) error {
			rows, err := q.Query(ctx, ins+" RETURNING xid", xid)
			if err != nil {
				return err
			}
			all, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err == nil && len(all) != 1 {
				err = fmt.Errorf("rows %v", all)
			}
			return err
		}, 1},
		{"query, closed early", func(ctx context.Context, q pgx.Tx, xid string) error {
			rows, err := q.Query(ctx, "SELECT generate_series(1, $1::int)", 1000)
			if err != nil {
				return err
			}
			rows.Next()
			rows.Close()
			_, err = q.Exec(ctx, ins, xid)
			return errors.Join(err, rows.Err())
		}, 1},
		{"row, and named arguments", func(ctx context.Context, q pgx.Tx, xid string) error {
			var got string
			return q.QueryRow(ctx, "INSERT INTO token (xid) VALUES (@x) RETURNING xid", pgx.NamedArgs{"x": xid}).Scan(&got)
		}, 1},
		{"a mode of its own", func(ctx context.Context, q pgx.Tx, xid string) error {
			_, err := q.Exec(ctx, ins, pgx.QueryExecModeSimpleProtocol, xid)
			return err
		}, 1},
		{"no row", func(ctx context.Context, q pgx.Tx, xid string) error {
			var got string
			if err := q.QueryRow(ctx, "SELECT xid FROM token WHERE xid = $1", xid).Scan(&got); !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("error %w", err)
			}
			_, err := q.Exec(ctx, ins, xid)
			return err
		}, 1},
		{"savepoint", func(ctx context.Context, q pgx.Tx, xid string) error {
			return pgx.BeginFunc(ctx, q, func(q pgx.Tx) error { _, err := q.Exec(ctx, ins, xid); return err })
		}, 1},
		{"copy", func(ctx context.Context, q pgx.Tx, xid string) error {
			_, err := q.CopyFrom(ctx, pgx.Identifier{"token"}, []string{"xid"}, pgx.CopyFromRows([][]any{{xid}}))
			return err
		}, 1},
		{"batch", func(ctx context.Context, q pgx.Tx, xid string) error {
			var b pgx.Batch
			b.Queue(ins, xid)
			return q.SendBatch(ctx, &b).Close()
		}, 1},
		{"prepare", func(ctx context.Context, q pgx.Tx, xid string) error {
			if _, err := q.Prepare(ctx, "", ins); err != nil {
				return err
			}
			_, err := q.Exec(ctx, ins, xid)
			return err
		}, 1},
		{"the connection itself", func(ctx context.Context, q pgx.Tx, xid string) error {
			_, err := q.Conn().Exec(ctx, ins, xid)
			return err
		}, 1},
		{"a large object", func(ctx context.Context, q pgx.Tx, xid string) error {
			large := q.LargeObjects()
			if _, err := large.Create(ctx, 0); err != nil {
				return err
			}
			_, err := q.Exec(ctx, ins, xid)
			return err
		}, 1},
		{"no table, with an argument", func(ctx context.Context, q pgx.Tx, xid string) error {
			_, err := q.Exec(ctx, "INSERT INTO there_is_none VALUES ($1)", xid)
			return swallow(ctx, q, xid, err)
		}, 0},
		{"no table, in a query", func(ctx context.Context, q pgx.Tx, xid string) error {
			rows, err := q.Query(ctx, "SELECT * FROM there_is_none WHERE x = $1", xid)
			rows.Close()
			return swallow(ctx, q, xid, errors.Join(err, rows.Err()))
		}, 0},
		{"no syntax", func(ctx context.Context, q pgx.Tx, xid string) error {
			_, err := q.Exec(ctx, "INSERT")
			return swallow(ctx, q, xid, err)
		}, 0},
		{"an error of its execution", func(ctx context.Context, q pgx.Tx, xid string) error {
			var n int
			return swallow(ctx, q, xid, q.QueryRow(ctx, "SELECT 1 / $1::int", 0).Scan(&n))
		}, 0},
	}
	for mode, db := range modes {
		c := open(t, db)
		for i, tt := range tests {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				var x dtc.XID
				for range 2 { // also when the connection knows the statement
					err := c.Run(t.Context(), dtc.NewTxID(), func(ctx context.Context, tx *dtc.Tx) error {
						x = tx.XID()
						return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return tt.fn(ctx, q, x.String()) })
					})
					if tt.rows > 0 && err != nil || tt.rows == 0 && (!errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "use a savepoint")) {
						t.Errorf("test %d: error %v", i, err)
					}
					eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
					if n := w.count(t, "SELECT count(*) FROM token WHERE xid = $1", x.String()); n != tt.rows {
						t.Errorf("%d rows, want %d", n, tt.rows)
					}
				}
				w.clean(t)
			})
		}
	}
}

// TestNothingWithoutBegin: the connection is lost before the first statement. Nothing is
// executed outside of the transaction, and nothing is committed.
func TestNothingWithoutBegin(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	for name, use := range map[string]func(ctx context.Context, q pgx.Tx) error{
		"row": func(ctx context.Context, q pgx.Tx) error {
			var n int
			return q.QueryRow(ctx, "SELECT $1::int", 1).Scan(&n)
		},
		"exec":  func(ctx context.Context, q pgx.Tx) error { _, err := q.Exec(ctx, "SELECT 1"); return err },
		"begin": func(ctx context.Context, q pgx.Tx) error { _, err := q.Begin(ctx); return err },
		"conn":  func(ctx context.Context, q pgx.Tx) error { _, err := q.Conn().Exec(ctx, "SELECT 1"); return err },
		"batch": func(ctx context.Context, q pgx.Tx) error {
			var b pgx.Batch
			b.Queue("SELECT 1")
			return q.SendBatch(ctx, &b).Close()
		},
		"objects": func(ctx context.Context, q pgx.Tx) error {
			o := q.LargeObjects()
			_, err := o.Create(ctx, 0)
			return err
		},
		"prepare": func(ctx context.Context, q pgx.Tx) error { _, err := q.Prepare(ctx, "", "SELECT 1"); return err },
		"copy": func(ctx context.Context, q pgx.Tx) error {
			_, err := q.CopyFrom(ctx, pgx.Identifier{"token"}, []string{"xid"}, pgx.CopyFromRows([][]any{{"x"}}))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			// One connection, whose server process is ended before anything was said in it.
			pool := openPool(t, w.dsn+"&pool_max_conns=1&application_name=lost")
			db, err := postgres.Open(t.Context(), "lost", pool, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			if err := c.Register(db); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Unregister("lost") })
			err = c.Run(t.Context(), dtc.NewTxID(), func(ctx context.Context, tx *dtc.Tx) error {
				return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
					w.exec(t, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'lost' AND datname = current_database()")
					if err := use(ctx, q); err == nil {
						t.Error("no error")
					}
					return nil // swallowed
				})
			})
			if !errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("error %v", err)
			}
			eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
			w.clean(t)
		})
	}
}

// TestBeginRefused: the server does not begin the transaction, and the connection stays good
// for anything else. Nothing is executed on it.
func TestBeginRefused(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	db := w.participant(t, "refused", &postgres.Options{TxOptions: pgx.TxOptions{BeginQuery: "BEGIN NONSENSE"}})
	c := open(t, db)
	_, err := w.once(t, c, db, "refused", func(ctx context.Context, q pgx.Tx, xid dtc.XID) error {
		if _, err := q.Conn().Exec(ctx, "INSERT INTO token VALUES ($1)", xid.String()); err == nil {
			t.Error("no error")
		}
		return nil // swallowed
	})
	if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "42601") {
		t.Errorf("error %v", err)
	}
	if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
}
