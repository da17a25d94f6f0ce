package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

func insert(ctx context.Context, q *mysql.Tx, xid dtc.XID) error {
	_, err := q.ExecContext(ctx, "INSERT INTO token (xid) VALUES (?)", xid.String())
	return err
}

// clean checks that nothing is left in the database, nor in the pool.
func (w *world) clean(t *testing.T) {
	t.Helper()
	if all, err := w.prepared(); err != nil || len(all) > 0 {
		t.Errorf("left prepared: %q, error: %v", all, err)
	}
	if n := w.pool.Stats().InUse; n != 0 {
		t.Errorf("%d connections of the pool are still held", n)
	}
	// A session that was cut off ends when the server comes to it.
	eventually(t, "no old transaction is left", func() bool {
		n := w.count(t, `SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id <> CONNECTION_ID()
			AND trx_started < NOW() - INTERVAL 5 SECOND`)
		if n != 0 {
			time.Sleep(150 * time.Millisecond) // what is asked more often is not looked up anew
		}
		return n == 0
	})
}

func connectionID(ctx context.Context, q *mysql.Tx) (id int, err error) {
	err = q.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id)
	return id, err
}

func TestDo(t *testing.T) {
	w, v := newTwoPhases(t, servers.SharedMariaDB(t)), newWorld(t, servers.SharedMariaDB(t))
	other := v.participant(t, "payment", nil)
	c := open(t, w.db, other)
	errNo := errors.New("out of stock")
	exec := func(list ...string) func(ctx context.Context, tx *dtc.Tx) error {
		return func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				for _, sql := range list {
					if _, err := q.ExecContext(ctx, sql); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	// swallows does its work, then what fails, and goes on as if nothing had happened.
	swallows := func(list ...string) func(ctx context.Context, tx *dtc.Tx) error {
		return func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				err := insert(ctx, q, tx.XID())
				for _, sql := range list {
					_, _ = q.ExecContext(ctx, sql)
				}
				return err
			})
		}
	}

	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1, 10), (2, 20)")
	w.exec(t, "CREATE FUNCTION sell() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO token VALUES ('by a function'); RETURN 1; END")
	w.exec(t, "CREATE VIEW sold AS SELECT sell() AS n")
	// blocked does something while another transaction holds a row.
	blocked := func(do func(ctx context.Context, tx *dtc.Tx) error) func(ctx context.Context, tx *dtc.Tx) error {
		return func(ctx context.Context, tx *dtc.Tx) error {
			holder, err := w.admin.Begin()
			if err != nil {
				return err
			}
			defer holder.Rollback()
			if _, err := holder.Exec("UPDATE stock SET n = 0 WHERE id = 2"); err != nil {
				return err
			}
			return do(ctx, tx)
		}
	}

	tests := []struct {
		name string
		fn   func(ctx context.Context, tx *dtc.Tx) error
		want error // nil: committed
		text string
		rows int // tokens in w
		row  int // rows of branches in w
	}{
		{name: "commits both", rows: 1, row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			if err := w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, tx.XID()) }); err != nil {
				return err
			}
			return other.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, tx.XID()) })
		}},
		{name: "goes on with the same branch", rows: 2, row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			var ids [2]int
			for i := range ids {
				if err := w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) (err error) {
					if ids[i], err = connectionID(ctx, q); err != nil {
						return err
					}
					return insert(ctx, q, tx.XID())
				}); err != nil {
					return err
				}
			}
			if ids[0] != ids[1] {
				return fmt.Errorf("two connections: %v", ids)
			}
			return nil
		}},
		{name: "goes on from several goroutines", rows: 8, row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				wg.Go(func() {
					errs[i] = w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, tx.XID()) })
				})
			}
			wg.Wait()
			return errors.Join(errs...)
		}},
		{name: "does nothing", fn: exec()},
		{name: "only reads", fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				var n int
				return q.QueryRowContext(ctx, "SELECT count(*) FROM token").Scan(&n)
			})
		}},
		{name: "reads, then writes", rows: 1, row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				var n int
				if err := q.QueryRowContext(ctx, "SELECT count(*) FROM token").Scan(&n); err != nil {
					return err
				}
				return insert(ctx, q, tx.XID())
			})
		}},
		{name: "locks, which is not only reading", row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				rows, err := q.QueryContext(ctx, "SELECT * FROM token FOR UPDATE")
				if err != nil {
					return err
				}
				return errors.Join(rows.Close(), rows.Err())
			})
		}},
		{name: "a function writes in a SELECT", row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				var n int
				return q.QueryRowContext(ctx, "SELECT sell()").Scan(&n)
			})
		}},
		{name: "a view writes in a SELECT", row: 1, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				var n int
				return q.QueryRowContext(ctx, "SELECT n FROM sold").Scan(&n)
			})
		}},
		{name: "writes no row, but may lock", row: 1, fn: exec("UPDATE stock SET n = n - 1 WHERE id = 3")},
		{name: "fails", want: errNo, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				return errors.Join(insert(ctx, q, tx.XID()), errNo)
			})
		}},
		{name: "fails and goes on", want: errNo, fn: func(ctx context.Context, tx *dtc.Tx) error {
			_ = w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return errNo })
			return nil
		}},
		{name: "swallows the error of a statement", want: dtc.ErrRolledBack, text: "a statement of the branch failed", fn: swallows("SELECT * FROM there_is_none")},
		{
			name: "swallows a duplicate key", want: dtc.ErrRolledBack, text: "1062",
			fn: swallows("INSERT INTO stock VALUES (3, 30), (1, 10)"),
		},
		{
			name: "swallows a lock that was not granted, of which the server undoes the statement alone", want: dtc.ErrRolledBack, text: "1205",
			fn: blocked(swallows("SET SESSION innodb_lock_wait_timeout = 1", "UPDATE stock SET n = n - 1")),
		},
		{
			name: "a savepoint does not take the error of a statement", want: dtc.ErrRolledBack, text: "1062",
			fn: swallows("SAVEPOINT s", "INSERT INTO stock VALUES (1, 10)", "ROLLBACK TO SAVEPOINT s"),
		},
		{
			name: "goes on after an error that it has met while reading rows", want: dtc.ErrRolledBack, text: "failed while its rows were read",
			fn: func(ctx context.Context, tx *dtc.Tx) error {
				return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
					if err := insert(ctx, q, tx.XID()); err != nil {
						return err
					}
					rows, err := q.QueryContext(ctx, "INSERT INTO stock VALUES (3, 30), (1, 10) RETURNING id")
					if err != nil {
						return fmt.Errorf("not while reading: %w", err)
					}
					for rows.Next() {
					}
					if rows.Close(); rows.Err() == nil {
						return errors.New("no error")
					}
					return nil
				})
			},
		},
		{name: "leaves rows open", want: dtc.ErrRolledBack, fn: func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				if err := insert(ctx, q, tx.XID()); err != nil {
					return err
				}
				rows, err := q.QueryContext(context.Background(), "SELECT 1 UNION SELECT 2")
				if err != nil {
					return err
				}
				return rows.Err()
			})
		}},
		{name: "wants to commit", want: dtc.ErrRolledBack, text: "1399", fn: swallows("COMMIT")},
		{name: "wants to begin another", want: dtc.ErrRolledBack, text: "1399", fn: swallows("START TRANSACTION")},
		{name: "a statement that commits by itself", want: dtc.ErrRolledBack, text: "1399", fn: swallows("CREATE TABLE x (n int)")},
		{name: "wants to end the branch", want: dtc.ErrRolledBack, text: "ended by the coordinator alone", fn: swallows("XA END X'00'")},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
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
			if err != nil && strings.Contains(err.Error(), "'1'") {
				t.Errorf("error %v quotes data", err)
			}
			eventually(t, "the transaction ends", func() bool { return c.Stats().Unfinished == 0 })
			if n := w.count(t, "SELECT COUNT(*) FROM token WHERE xid = ?", xid.String()); n != tt.rows {
				t.Errorf("%d rows, want %d", n, tt.rows)
			}
			if n := w.count(t, "SELECT COUNT(*) FROM dtc_branch WHERE state = 'committed' AND name = ?", xid.String()+".orders"); n != tt.row {
				t.Errorf("%d rows that prove, want %d: a branch is prepared if it has written or locked", n, tt.row)
			}
			w.clean(t)
			v.clean(t)
		})
	}
}
