package dbbench_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// BenchmarkPostgresOne changes one row in one database: with dtc, in one phase; with a loop
// that writes a row that says that it was done, as dtc does; with a loop that does not; and
// with dtc in two phases.
func BenchmarkPostgresOne(b *testing.B) {
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
	var dbs [2]*postgres.Database // of which the second one takes two phases
	for i := range dbs {
		dbs[i], err = postgres.Open(b.Context(), fmt.Sprintf("bank-%d", i), pool, &postgres.Options{TwoPhases: i == 1})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dbs[i].Close)
	}
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			for range b.N {
				comparePostgresOne(b, workers, pool, dbs)
			}
		})
	}
}

func comparePostgresOne(b *testing.B, workers int, pool *pgxpool.Pool, dbs [2]*postgres.Database) {
	c, err := dtc.Open(filepath.Join(b.TempDir(), "log"), &dtc.Config{
		Participants: []dtc.Participant{dbs[0], dbs[1]}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx := b.Context()
	run := func(db *postgres.Database) func(n int64) error {
		return func(n int64) error {
			return c.Run(ctx, dtc.TxID(fmt.Sprintf("bench-%d", n)), func(ctx context.Context, tx *dtc.Tx) error {
				return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return work(ctx, q, n%accounts) })
			})
		}
	}
	loop := func(row bool) func(n int64) error {
		return func(n int64) error {
			conn, err := pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
				return err
			}
			if err := work(ctx, conn, n%accounts); err != nil {
				return err
			}
			commit := "COMMIT"
			if row {
				commit = fmt.Sprintf("INSERT INTO done VALUES ('one-%d'); COMMIT", n)
			}
			_, err = conn.Exec(ctx, commit, pgx.QueryExecModeSimpleProtocol)
			return err
		}
	}
	compare(b, workers, []kind{{"dtc", run(dbs[0])}, {"row", loop(true)}, {"loop", loop(false)}, {"two-phases", run(dbs[1])}},
		func() (cost, error) { return spent(ctx, [2]*pgxpool.Pool{pool, pool}) })
}
