package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// TestEndsByItself: a function that ends its transaction, if only by a statement that commits
// by itself, and then fails, has not voted to commit. What it has made durable is rolled back.
func TestEndsByItself(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		d.exec(t, "CREATE TABLE hold (xid varchar(64) NOT NULL)")
		errNo := errors.New("out of stock")
		statement := "COMMIT"
		if d.dialect == guard.MariaDB {
			statement = "CREATE TABLE IF NOT EXISTS scratch (n int)"
		}
		g := newGuard(t, "stock", d, guard.Funcs{
			Prepare: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
				if err := d.execTx(ctx, tx, "INSERT INTO hold (xid) VALUES (?)", b.XID.String()); err != nil {
					return dtc.VoteAbort, err
				}
				if err := d.execTx(ctx, tx, statement); err != nil {
					return dtc.VoteAbort, err
				}
				return dtc.VoteAbort, errNo
			},
			Rollback: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
				return d.execTx(ctx, tx, "DELETE FROM hold WHERE xid = ?", b.XID.String())
			},
		}, nil)
		b := newNames("stock").branch(1)
		for range 2 {
			if v, err := g.Prepare(t.Context(), b); v != dtc.VoteAbort || err == nil || !strings.Contains(err.Error(), errNo.Error()) {
				t.Errorf("%v, %v", v, err)
			}
		}
		if err := g.Rollback(t.Context(), b); err != nil {
			t.Error(err)
		}
		c, err := dtc.Open(t.TempDir(), &dtc.Config{Participants: []dtc.Participant{g}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		err = c.Run(t.Context(), "ends", func(_ context.Context, tx *dtc.Tx) error { return tx.Enlist("stock", nil) })
		if !errors.Is(err, dtc.ErrRolledBack) || !errors.Is(err, errNo) || !strings.Contains(err.Error(), "ended its transaction") {
			t.Errorf("error %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := d.int(t, "SELECT COUNT(*) FROM hold"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// TestRolledBackUnderneath: SQLite rolls the whole transaction back where a trigger or a
// constraint says so. That is a vote to abort as any other.
func TestRolledBackUnderneath(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		if d.dialect != guard.SQLite {
			return
		}
		d.exec(t, "CREATE TABLE hold (n int NOT NULL)")
		d.exec(t, "CREATE TRIGGER refuses BEFORE INSERT ON hold BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
		g := newGuard(t, "stock", d, guard.Funcs{
			Prepare: func(ctx context.Context, tx *sql.Tx, _ dtc.Branch) (dtc.Vote, error) {
				return dtc.VoteCommit, d.execTx(ctx, tx, "INSERT INTO hold VALUES (1)")
			},
		}, nil)
		b := newNames("stock").branch(1)
		v, err := g.Prepare(t.Context(), b)
		if v != dtc.VoteAbort || err == nil || errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("%v, %v", v, err)
		}
		if v, err := g.Prepare(t.Context(), b); v != dtc.VoteAbort || !errors.Is(err, guard.ErrRefused) {
			t.Errorf("again: %v, %v", v, err)
		}
	})
}

// TestWithoutAutocommit: sessions of MariaDB that leave a transaction open after every statement
// are refused when the guard is made. No branch could begin in them.
func TestWithoutAutocommit(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		if d.dialect != guard.MariaDB {
			return
		}
		db, err := sql.Open("mysql", d.server.DSN(d.name)+"?autocommit=0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		_, err = guard.New(t.Context(), "stock", db, guard.MariaDB, guard.Funcs{
			Prepare: func(context.Context, *sql.Tx, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil },
		}, nil)
		if err == nil || !strings.Contains(err.Error(), "autocommit is off") {
			t.Errorf("error %v", err)
		}
	})
}
