// Package dbbench_test measures transactions over real databases beside a loop written by
// hand that does the same without a coordinator, in the same run. The ratio is what counts;
// absolute numbers belong to one machine at one hour.
//
//	go test -bench . -run '^$' -benchtime 1x ./dbbench
package dbbench_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
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

// BenchmarkPostgres moves something in two databases, each on a server of its own: with dtc;
// with a loop that prepares both at once, syncs its decision to a file, sharing the sync with
// others, and commits both at once; with that loop and a row in each branch that says that it
// was done, as dtc has one; and with the loop without the file.
func BenchmarkPostgres(b *testing.B) {
	var pools [2]*pgxpool.Pool
	var dbs [2]*postgres.Database
	for i := range pools {
		server := servers.Postgres(b)
		pool, err := pgxpool.New(b.Context(), server.DSN("")+"&pool_max_conns=64")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		for _, sql := range []string{
			"CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
			"CREATE TABLE done (name varchar(64) PRIMARY KEY)",
			fmt.Sprintf("INSERT INTO account SELECT n, 0 FROM generate_series(0, %d) AS n", accounts-1),
		} {
			if _, err := pool.Exec(b.Context(), sql); err != nil {
				b.Fatal(err)
			}
		}
		pools[i] = pool
		if dbs[i], err = postgres.Open(b.Context(), fmt.Sprintf("bank-%d", i), pool, nil); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dbs[i].Close)
	}
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			for range b.N {
				comparePostgres(b, workers, pools, dbs)
			}
		})
	}
}

func comparePostgres(b *testing.B, workers int, pools [2]*pgxpool.Pool, dbs [2]*postgres.Database) {
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
	decide := func() { file.Append(make([]byte, 100)) }
	ctx := b.Context()
	compare(b, workers, []kind{
		{"dtc", func(n int64) error {
			return c.Run(ctx, dtc.TxID(fmt.Sprintf("bench-%d-%d", workers, n)), func(ctx context.Context, tx *dtc.Tx) error {
				for _, db := range dbs {
					if err := db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return work(ctx, q, n%accounts) }); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"loop", func(n int64) error { return loop(ctx, pools, n, false, decide) }},
		{"row", func(n int64) error { return loop(ctx, pools, n, true, decide) }},
		{"no-log", func(n int64) error { return loop(ctx, pools, n, false, func() {}) }},
	}, func() (cost, error) { return spent(ctx, pools) })
}

// loop is two-phase commit without a coordinator: what it has decided nobody recovers.
func loop(ctx context.Context, pools [2]*pgxpool.Pool, n int64, row bool, decide func()) error {
	gid := fmt.Sprintf("'loop-%d'", n)
	var conns [2]*pgxpool.Conn
	for i, pool := range pools {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		conns[i] = conn
		if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
			return err
		}
		if err := work(ctx, conn, n%accounts); err != nil {
			return err
		}
	}
	prepare := "PREPARE TRANSACTION " + gid
	if row {
		prepare = "INSERT INTO done VALUES (" + gid + "); " + prepare
	}
	if err := both(ctx, conns, prepare); err != nil {
		return err
	}
	decide()
	return both(ctx, conns, "COMMIT PREPARED "+gid)
}

func both(ctx context.Context, conns [2]*pgxpool.Conn, sql string) error {
	other := make(chan error, 1)
	go func() {
		_, err := conns[1].Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		other <- err
	}()
	_, err := conns[0].Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if oerr := <-other; err == nil {
		err = oerr
	}
	return err
}
