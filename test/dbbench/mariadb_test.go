package dbbench_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
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

// BenchmarkMariaDB is BenchmarkPostgres on MariaDB. Its loop keeps the two connections of a
// transaction until it has committed there, and gives them back.
func BenchmarkMariaDB(b *testing.B) {
	var pools [2]*sql.DB
	var dbs [2]*mysql.Database
	for i := range pools {
		server := servers.MariaDB(b)
		server.NewDatabase(b, "bank")
		cfg, err := mysqldriver.ParseDSN(server.DSN("bank"))
		if err != nil {
			b.Fatal(err)
		}
		connector, err := mysqldriver.NewConnector(cfg)
		if err != nil {
			b.Fatal(err)
		}
		pools[i] = sql.OpenDB(connector)
		pools[i].SetMaxIdleConns(64)
		b.Cleanup(func() { pools[i].Close() })
		for _, sql := range []string{
			"CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
			"CREATE TABLE done (name varchar(64) PRIMARY KEY)",
			fmt.Sprintf("INSERT INTO account SELECT seq, 0 FROM seq_0_to_%d", accounts-1),
		} {
			if _, err := pools[i].ExecContext(b.Context(), sql); err != nil {
				b.Fatal(err)
			}
		}
		if dbs[i], err = mysql.Open(b.Context(), fmt.Sprintf("bank-%d", i), pools[i], connector, nil); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dbs[i].Close)
	}
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			for range b.N {
				compareMariaDB(b, workers, pools, dbs)
			}
		})
	}
}

func compareMariaDB(b *testing.B, workers int, pools [2]*sql.DB, dbs [2]*mysql.Database) {
	c, err := dtc.Open(filepath.Join(b.TempDir(), "log"), &dtc.Config{
		Participants: []dtc.Participant{dbs[0], dbs[1]}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	file, err := measure.OpenBare(filepath.Join(b.TempDir(), "decisions"), 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	ctx := b.Context()
	decide := func() { file.Append(make([]byte, 100)) }
	compare(b, workers, []kind{
		{"dtc", func(n int64) error {
			return c.Run(ctx, dtc.TxID(fmt.Sprintf("bench-%d-%d", workers, n)), func(ctx context.Context, tx *dtc.Tx) error {
				for _, db := range dbs {
					if err := db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return change(ctx, q, n%accounts) }); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"loop", func(n int64) error { return xaLoop(ctx, pools, n, false, decide) }},
		{"row", func(n int64) error { return xaLoop(ctx, pools, n, true, decide) }},
		{"no-log", func(n int64) error { return xaLoop(ctx, pools, n, false, func() {}) }},
	}, nil)
}

// xaLoop is two-phase commit without a coordinator: what it has decided nobody recovers.
func xaLoop(ctx context.Context, pools [2]*sql.DB, n int64, row bool, decide func()) error {
	name := fmt.Sprintf("'loop-%d'", n)
	var conns [2]*sql.Conn
	for i, pool := range pools {
		conn, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		conns[i] = conn
		if _, err := conn.ExecContext(ctx, "XA START "+name); err != nil {
			return err
		}
		if err := change(ctx, conn, n%accounts); err != nil {
			return err
		}
		if !row {
			continue
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO done VALUES ("+name+")"); err != nil {
			return err
		}
	}
	if err := bothXA(ctx, conns, "XA END "+name, "XA PREPARE "+name); err != nil {
		return err
	}
	decide()
	return bothXA(ctx, conns, "XA COMMIT "+name)
}

func bothXA(ctx context.Context, conns [2]*sql.Conn, list ...string) error {
	exec := func(conn *sql.Conn) error {
		for _, sql := range list {
			if _, err := conn.ExecContext(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
	other := make(chan error, 1)
	go func() { other <- exec(conns[1]) }()
	err := exec(conns[0])
	if oerr := <-other; err == nil {
		err = oerr
	}
	return err
}
