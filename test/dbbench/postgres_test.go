// Package dbbench_test measures transactions over real databases beside a loop written by
// hand that does the same without a coordinator, in the same run. The ratio is what counts;
// absolute numbers belong to one machine at one hour.
//
//	go test -bench . -run '^$' -benchtime 1x ./dbbench
package dbbench_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }

// work is what a branch does.
func work(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, account int64,
) error {
	var balance int64
	return q.QueryRow(ctx, "UPDATE account SET balance = balance + 1 WHERE id = $1 RETURNING balance", account).Scan(&balance)
}

// BenchmarkPostgres compares two phases, in two databases on a server each.
func BenchmarkPostgres(b *testing.B) {
	pools := []*pgxpool.Pool{postgresPool(b), postgresPool(b)}
	s := postgresBanks(b, pools, [2]*pgxpool.Pool{pools[0], pools[1]}, [2]*postgres.Options{})
	s.loop = func(ctx context.Context, n int64, row bool, decide func()) error {
		return loop(ctx, pools, n, row, decide)
	}
	s.twoPhases(b)
}

// BenchmarkPostgresOne compares one phase, in one database.
func BenchmarkPostgresOne(b *testing.B) {
	pool := postgresPool(b)
	s := postgresBanks(b, []*pgxpool.Pool{pool}, [2]*pgxpool.Pool{pool, pool}, [2]*postgres.Options{1: {TwoPhases: true}})
	s.loop = func(ctx context.Context, n int64, row bool, _ func()) error { return loopOne(ctx, pool, n, row) }
	s.onePhase(b)
}

// postgresPool is a database on a server of its own.
func postgresPool(b *testing.B) *pgxpool.Pool {
	b.Helper()
	server := servers.Postgres(b)
	pool, err := pgxpool.New(b.Context(), server.DSN("")+"&pool_max_conns=64")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	tables(b, fmt.Sprintf("generate_series(0, %d) AS n", accounts-1), func(ctx context.Context, sql string) error {
		_, err := pool.Exec(ctx, sql)
		return err
	})
	return pool
}

// postgresBanks are participants in the databases of those pools. Servers names each of their
// servers once.
func postgresBanks(b *testing.B, servers []*pgxpool.Pool, pools [2]*pgxpool.Pool, opts [2]*postgres.Options) *banks {
	b.Helper()
	s := &banks{spent: func() (cost, error) { return spent(b.Context(), servers) }}
	var dbs [2]*postgres.Database
	for i, pool := range pools {
		var err error
		if dbs[i], err = postgres.Open(b.Context(), fmt.Sprintf("bank-%d", i), pool, opts[i]); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dbs[i].Close)
		s.participants[i] = dbs[i]
	}
	s.branch = func(ctx context.Context, tx *dtc.Tx, at int, account int64) error {
		return dbs[at].Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return work(ctx, q, account) })
	}
	return s
}

// loop is two-phase commit without a coordinator: what it has decided nobody recovers.
func loop(ctx context.Context, pools []*pgxpool.Pool, n int64, row bool, decide func()) error {
	gid := fmt.Sprintf("'loop-%d'", n)
	var conns [2]*pgxpool.Conn
	for i, pool := range pools {
		conn, err := begin(ctx, pool, n)
		if err != nil {
			return err
		}
		defer conn.Release()
		conns[i] = conn
	}
	exec := func(sql string) error {
		return both(func(at int) error {
			_, err := conns[at].Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			return err
		})
	}
	prepare := "PREPARE TRANSACTION " + gid
	if row {
		prepare = "INSERT INTO done VALUES (" + gid + "); " + prepare
	}
	if err := exec(prepare); err != nil {
		return err
	}
	decide()
	return exec("COMMIT PREPARED " + gid)
}

// loopOne is a transaction of one database.
func loopOne(ctx context.Context, pool *pgxpool.Pool, n int64, row bool) error {
	conn, err := begin(ctx, pool, n)
	if err != nil {
		return err
	}
	defer conn.Release()
	commit := "COMMIT"
	if row {
		commit = fmt.Sprintf("INSERT INTO done VALUES ('one-%d'); COMMIT", n)
	}
	_, err = conn.Exec(ctx, commit, pgx.QueryExecModeSimpleProtocol)
	return err
}

// begin begins a transaction and does its work.
func begin(ctx context.Context, pool *pgxpool.Pool, n int64) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = conn.Exec(ctx, "BEGIN"); err == nil {
		err = work(ctx, conn, n%accounts)
	}
	if err != nil {
		conn.Release()
		return nil, err
	}
	return conn, nil
}
