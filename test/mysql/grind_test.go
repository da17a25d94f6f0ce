package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/grind"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// TestGrind moves money between two databases while everything is killed; see the package
// grind.
func TestGrind(t *testing.T) {
	var sides [2]*grind.Side
	for i := range sides {
		w := newWorld(t, servers.MariaDB(t))
		sides[i] = &grind.Side{Server: w.server, Name: w.name, DB: w.admin, Clean: func() { w.clean(t) }}
	}
	grind.Test(t, grind.Kind{
		Name: "MariaDB", Protocol: wire.MySQL, Texts: []string{atPrepare, atCommit, atRollback, atSeal, atFence, atAlone},
		DSN: func(dsn string) string { return dsn + "?timeout=5s" },
	}, sides)
}

// TestRecovery finishes what a killed coordinator has left; see the package grind.
// DTC_IN_DOUBT says how many branches.
func TestRecovery(t *testing.T) {
	w := newWorld(t, servers.MariaDB(t))
	branches, arrived := grind.FromEnv(t, "DTC_IN_DOUBT", 500), false
	dirty := w.conn(t)
	say(t, dirty, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", 0)
	grind.TestDoubt(t, grind.Doubt{
		Name: "MariaDB", DSN: w.dsn, Branches: branches, DB: w.db,
		Prepared: func() (n int) {
			if !arrived { // the list is long: not before it can be complete
				if err := dirty.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM dtc_branch").Scan(&n); err != nil {
					t.Fatal(err)
				}
				if arrived = n >= branches; !arrived {
					return n
				}
			}
			all, err := w.prepared()
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		},
		Committed: func() int { return w.count(t, "SELECT COUNT(*) FROM token") },
	})
	w.clean(t)
}

// bank is a database that money is moved from and to.
type bank struct {
	*mysql.Database
	pool *sql.DB
}

func openBank(ctx context.Context, id, dsn string) (grind.Bank, error) {
	pool, db, err := openAs(ctx, id, dsn)
	return bank{db, pool}, err
}

func openAs(ctx context.Context, id, dsn string) (*sql.DB, *mysql.Database, error) {
	cfg, err := mysqldriver.ParseDSN(dsn)
	if err != nil {
		return nil, nil, err
	}
	c, err := mysqldriver.NewConnector(cfg)
	if err != nil {
		return nil, nil, err
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(32)
	pool.SetMaxIdleConns(32)
	db, err := mysql.Open(ctx, id, pool, c, &mysql.Options{PruneEvery: 64})
	if err != nil {
		_ = pool.Close()
	}
	return pool, db, err
}

func (p bank) Ping(ctx context.Context) error { return p.pool.PingContext(ctx) }

func (p bank) Move(ctx context.Context, tx *dtc.Tx, m grind.Move) error {
	const move, row = "UPDATE account SET balance = balance + ? WHERE id = ?", "INSERT INTO moved (id, amount) VALUES (?, ?)"
	type execer interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
	work := func(ctx context.Context, q execer) error {
		if _, err := q.ExecContext(ctx, move, m.Amount, m.Account); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, row, m.ID, m.Amount)
		return err
	}
	switch m.Way {
	case grind.Statements:
		return tx.Enlist(p.ID(), statements(
			mysql.Statement{SQL: move, Args: args(m.Amount, m.Account)}, mysql.Statement{SQL: row, Args: args(m.ID, m.Amount)}))
	case grind.Adopted:
		if err := tx.Enlist(p.ID(), []byte(`{"adopted":true}`)); err != nil {
			return err
		}
		return prepareAside(ctx, p.pool, p.Database, tx.XID(), dtc.TxID(fmt.Sprint("adopted-", m.ID)), func(q *sql.Conn) error { return work(ctx, q) })
	}
	return p.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return work(ctx, q) })
}

// prepareAside does the work of an adopted branch and prepares it, and leaves it to the
// coordinator what has become of that.
func prepareAside(ctx context.Context, pool *sql.DB, db *mysql.Database, xid dtc.XID, id dtc.TxID, work func(q *sql.Conn) error) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = discard(conn) }()
	proof, err := db.Proof(xid, id)
	if err != nil {
		return err
	}
	name := mysql.Name(xid, db.ID())
	if _, err := conn.ExecContext(ctx, "XA START "+name); err != nil {
		return err
	}
	if err := work(conn); err != nil {
		return err
	}
	for _, sql := range []string{proof, "XA END " + name} {
		if _, err := conn.ExecContext(ctx, sql); err != nil {
			return err
		}
	}
	soon, cancel := context.WithTimeout(ctx, wire.GiveUp)
	defer cancel()
	_, _ = conn.ExecContext(soon, "XA PREPARE "+name)
	return nil
}

// leaver is a participant whose process forgets the session of a branch once it is prepared,
// as if it had been killed: there are not as many connections as branches.
type leaver struct {
	*mysql.Database
	pool *sql.DB
}

func openLeaver(ctx context.Context, dsn string) (dtc.Participant, error) {
	pool, db, err := openAs(ctx, "orders", dsn)
	return leaver{db, pool}, err
}

func (p leaver) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	err := prepareAside(ctx, p.pool, p.Database, b.XID, b.TxID, func(q *sql.Conn) error {
		_, err := q.ExecContext(ctx, "INSERT INTO token (xid) VALUES (?)", b.XID.String())
		return err
	})
	return dtc.VoteCommit, err
}
