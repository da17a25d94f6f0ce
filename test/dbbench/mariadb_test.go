package dbbench_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// execer is what the branch of the loop and that of dtc have in common.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// change is what a branch does.
func change(ctx context.Context, q execer, account int64) error {
	_, err := q.ExecContext(ctx, fmt.Sprintf("UPDATE account SET balance = balance + 1 WHERE id = %d", account))
	return err
}

// mariaDB is a database on a server, and how its connections are made.
type mariaDB struct {
	pool      *sql.DB
	connector driver.Connector
}

// BenchmarkMariaDB is BenchmarkPostgres on MariaDB. Its loop keeps the two connections of a
// transaction until it has committed there, and gives them back.
func BenchmarkMariaDB(b *testing.B) {
	at := [2]mariaDB{openMariaDB(b), openMariaDB(b)}
	s := mariaDBBanks(b, at, [2]*mysql.Options{})
	s.loop = func(ctx context.Context, n int64, row bool, decide func()) error {
		return xaLoop(ctx, at, n, row, decide)
	}
	s.twoPhases(b)
}

// BenchmarkMariaDBOne is BenchmarkPostgresOne on MariaDB.
func BenchmarkMariaDBOne(b *testing.B) {
	at := openMariaDB(b)
	s := mariaDBBanks(b, [2]mariaDB{at, at}, [2]*mysql.Options{1: {TwoPhases: true}})
	s.loop = func(ctx context.Context, n int64, row bool, _ func()) error {
		return loopOneMariaDB(ctx, at.pool, n, row)
	}
	s.onePhase(b)
}

// openMariaDB starts a server of its own, with the caches that it has by default: with those
// of the tests it writes the pages of its undo log to the disk all the time, and whoever
// wants one waits for that.
func openMariaDB(b *testing.B) mariaDB {
	b.Helper()
	server := servers.MariaDB(b, "innodb-buffer-pool-size=128M", "innodb-log-buffer-size=16M")
	server.NewDatabase(b, "bank")
	cfg, err := mysqldriver.ParseDSN(server.DSN("bank"))
	if err != nil {
		b.Fatal(err)
	}
	connector, err := mysqldriver.NewConnector(cfg)
	if err != nil {
		b.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxIdleConns(64)
	b.Cleanup(func() { pool.Close() })
	tables(b, fmt.Sprintf("(SELECT seq AS n FROM seq_0_to_%d) AS s", accounts-1), func(ctx context.Context, sql string) error {
		_, err := pool.ExecContext(ctx, sql)
		return err
	})
	return mariaDB{pool, connector}
}

// mariaDBBanks are participants in those databases.
func mariaDBBanks(b *testing.B, at [2]mariaDB, opts [2]*mysql.Options) *banks {
	b.Helper()
	s := &banks{}
	var dbs [2]*mysql.Database
	for i := range at {
		var err error
		if dbs[i], err = mysql.Open(b.Context(), fmt.Sprintf("bank-%d", i), at[i].pool, at[i].connector, opts[i]); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dbs[i].Close)
		s.participants[i] = dbs[i]
	}
	s.branch = func(ctx context.Context, tx *dtc.Tx, at int, account int64) error {
		return dbs[at].Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return change(ctx, q, account) })
	}
	return s
}

// xaLoop is two-phase commit without a coordinator: what it has decided nobody recovers.
func xaLoop(ctx context.Context, at [2]mariaDB, n int64, row bool, decide func()) error {
	name := fmt.Sprintf("'loop-%d'", n)
	var conns [2]*sql.Conn
	for i := range at {
		conn, err := start(ctx, at[i].pool, "XA START "+name, n)
		if err != nil {
			return err
		}
		defer conn.Close()
		conns[i] = conn
	}
	exec := func(list ...string) error { return both(func(at int) error { return inOne(ctx, conns[at], list...) }) }
	prepare := []string{"XA END " + name, "XA PREPARE " + name}
	if row {
		prepare = append([]string{"INSERT INTO done VALUES (" + name + ")"}, prepare...)
	}
	if err := exec(prepare...); err != nil {
		return err
	}
	decide()
	return exec("XA COMMIT " + name)
}

// loopOneMariaDB is a transaction of one database.
func loopOneMariaDB(ctx context.Context, pool *sql.DB, n int64, row bool) error {
	conn, err := start(ctx, pool, "BEGIN", n)
	if err != nil {
		return err
	}
	defer conn.Close()
	if row {
		return inOne(ctx, conn, fmt.Sprintf("INSERT INTO done VALUES ('one-%d')", n), "COMMIT")
	}
	return inOne(ctx, conn, "COMMIT")
}

// start begins a transaction and does its work.
func start(ctx context.Context, pool *sql.DB, begin string, n int64) (*sql.Conn, error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = conn.ExecContext(ctx, begin); err == nil {
		err = change(ctx, conn, n%accounts)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// inOne executes statements in one message.
func inOne(ctx context.Context, conn *sql.Conn, list ...string) error {
	sql := list[0]
	if len(list) > 1 {
		sql = "BEGIN NOT ATOMIC " + strings.Join(list, "; ") + "; END"
	}
	_, err := conn.ExecContext(ctx, sql)
	return err
}
