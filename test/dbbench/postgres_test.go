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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }

const (
	accounts = 10_000
	rounds   = 9
	length   = time.Second // of one round
)

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
// others, and commits both at once; and with that loop without the file.
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
				compare(b, workers, pools, dbs)
			}
		})
	}
}

func compare(b *testing.B, workers int, pools [2]*pgxpool.Pool, dbs [2]*postgres.Database) {
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
	kinds := []struct {
		name string
		run  func(n int64) error
	}{
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
		{"loop", func(n int64) error {
			return loop(ctx, pools, n, func() { file.Append(make([]byte, 100)) })
		}},
		{"no-log", func(n int64) error { return loop(ctx, pools, n, func() {}) }},
	}
	var next atomic.Int64
	for _, k := range kinds { // connections are made, and know the statements
		if _, err := drive(workers, &next, k.run); err != nil {
			b.Fatalf("%s: %v", k.name, err)
		}
	}
	rates, costs := map[string][]float64{}, map[string]cost{}
	for round := range rounds {
		for i := range kinds {
			k := kinds[(i+round)%len(kinds)] // none always comes first
			first := next.Load()
			before, err := spent(ctx, pools)
			if err != nil {
				b.Fatal(err)
			}
			rate, err := drive(workers, &next, k.run)
			if err != nil {
				b.Fatalf("%s: %v", k.name, err)
			}
			after, err := spent(ctx, pools)
			if err != nil {
				b.Fatal(err)
			}
			rates[k.name] = append(rates[k.name], rate)
			costs[k.name] = costs[k.name].plus(after.plus(before, -1), 1/float64(rounds*(next.Load()-first)))
		}
	}
	median := map[string]float64{}
	for _, k := range kinds {
		slices.Sort(rates[k.name])
		median[k.name] = rates[k.name][rounds/2]
		b.ReportMetric(median[k.name], k.name+"/s")
		c := costs[k.name]
		b.Logf("%-6s one transaction: client %.0f us, servers %.0f us, log %.0f bytes; rates %.0f", k.name, c.client, c.server, c.wal, rates[k.name])
	}
	b.ReportMetric(median["dtc"]/median["loop"], "ratio")
	b.ReportMetric(median["dtc"]/median["no-log"], "no-log-ratio")
	b.ReportMetric((costs["loop"].client+costs["loop"].server)/(costs["dtc"].client+costs["dtc"].server), "cpu-ratio")
	b.ReportMetric(0, "ns/op")
	load, _ := os.ReadFile("/proc/loadavg")
	b.Logf("load %s", strings.TrimSpace(string(load)))
}

// drive runs transactions for the length of a round, and returns how many in a second.
func drive(workers int, next *atomic.Int64, run func(n int64) error) (float64, error) {
	var all sync.WaitGroup
	var done atomic.Int64
	errs := make([]error, workers)
	began := time.Now()
	for i := range workers {
		all.Go(func() {
			for errs[i] == nil && time.Since(began) < length {
				errs[i] = run(next.Add(1))
				done.Add(1)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return float64(done.Load()) / time.Since(began).Seconds(), nil
}

// loop is two-phase commit without a coordinator: what it has decided nobody recovers.
func loop(ctx context.Context, pools [2]*pgxpool.Pool, n int64, decide func()) error {
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
	if err := both(ctx, conns, "PREPARE TRANSACTION "+gid); err != nil {
		return err
	}
	decide()
	return both(ctx, conns, "COMMIT PREPARED "+gid)
}

func both(ctx context.Context, conns [2]*pgxpool.Conn, sql string) error {
	other := make(chan error, 1)
	go func() {
		_, err := conns[1].Exec(ctx, sql)
		other <- err
	}()
	_, err := conns[0].Exec(ctx, sql)
	if oerr := <-other; err == nil {
		err = oerr
	}
	return err
}
