package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
)

// grindEnv holds the orders of a child that moves money between two databases.
const grindEnv = "DTC_TEST_POSTGRES_GRIND"

type grindOrders struct {
	Log, Journal string
	DSN          [2]string // through the proxies
	Seed         uint64
	First, Last  int   // the transactions to run
	Ask          []int // the transactions whose outcome is asked when all has ended
}

const (
	grindWorkers  = 8
	grindAccounts = 64
)

var errUnwilling = errors.New("it was not to be")

// grindChild runs transactions until it is killed or has run them all, and notes in a
// journal what it begins and what it is told.
func grindChild() int {
	var o grindOrders
	if err := json.Unmarshal([]byte(os.Getenv(grindEnv)), &o); err != nil {
		return complain(err)
	}
	go func() { // whoever would kill us is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	journal, err := os.OpenFile(o.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return complain(err)
	}
	note := func(what string, id int, rest string) { // one write, which a kill cannot tear
		if _, err := fmt.Fprintf(journal, "%s %d %s\n", what, id, rest); err != nil {
			os.Exit(complain(err))
		}
	}
	ctx := context.Background()
	var dbs [2]*postgres.Database
	var pools [2]*pgxpool.Pool
	for i := range dbs {
		if dbs[i], pools[i], err = openPatiently(ctx, fmt.Sprintf("bank-%d", i), o.DSN[i]); err != nil {
			return complain(err)
		}
	}
	c, err := dtc.Open(o.Log, &dtc.Config{
		Participants: []dtc.Participant{dbs[0], dbs[1]}, SweepInterval: 300 * time.Millisecond, CompletionWait: 50 * time.Millisecond,
		Timing: dtc.Timing{PrepareTimeout: 3 * time.Second, FinishAttempt: 3 * time.Second, FinishBackoffCap: 300 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return complain(err)
	}
	fmt.Println(`{"url":"ready"}`)
	var next atomic.Int64
	next.Store(int64(o.First))
	done := make(chan struct{})
	for range grindWorkers {
		go func() {
			for {
				id := int(next.Add(1)) - 1
				if id > o.Last {
					break
				}
				for _, pool := range pools { // else most would fail while a server starts
					for pool.Ping(ctx) != nil {
						time.Sleep(20 * time.Millisecond)
					}
				}
				note("begun", id, "")
				note("told", id, told(transfer(ctx, c, dbs, id, o.Seed)))
			}
			done <- struct{}{}
		}()
	}
	for range grindWorkers {
		<-done
	}
	if o.Ask == nil {
		return 0
	}
	for c.Stats().Unfinished > 0 { // the test is patient for so long, and no longer
		time.Sleep(10 * time.Millisecond)
	}
	for _, id := range o.Ask {
		outcome, err := c.Outcome(ctx, txID(id))
		if errors.Is(err, dtc.ErrUnknownTx) {
			note("asked", id, "unknown")
			continue
		}
		note("asked", id, outcome.String())
	}
	_ = c.Close()
	return 0
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "child:", err)
	return 2
}

func txID(id int) dtc.TxID { return dtc.TxID(fmt.Sprintf("transfer-%d", id)) }

// openPatiently opens a database whose server may be away.
func openPatiently(ctx context.Context, id, dsn string) (*postgres.Database, *pgxpool.Pool, error) {
	pool, err := pgxpool.New(ctx, dsn+"&pool_max_conns=16&connect_timeout=5")
	if err != nil {
		return nil, nil, err
	}
	for try := 0; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		db, err := postgres.Open(attempt, id, pool, &postgres.Options{PruneEvery: 64})
		cancel()
		if err == nil || try > 100 {
			return db, pool, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// transfer moves money from one database to the other, and writes a row into each. The work
// of each branch is done in one of the three ways.
func transfer(ctx context.Context, c *dtc.Coordinator, dbs [2]*postgres.Database, id int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, uint64(id)))
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	amount := rng.Int64N(100) + 1
	return c.Run(ctx, txID(id), func(ctx context.Context, tx *dtc.Tx) error {
		for i, db := range dbs {
			account, way := rng.IntN(grindAccounts), rng.IntN(8)
			move := "UPDATE account SET balance = balance + $1 WHERE id = $2"
			row := "INSERT INTO moved (id, amount) VALUES ($1, $2)"
			change := amount * int64(1-2*i)
			if way == 0 { // by statements, after the function has ended
				err := tx.Enlist(db.ID(), statements(postgres.Statement{SQL: move, Args: args(change, account)}, postgres.Statement{SQL: row, Args: args(id, change)}))
				if err != nil {
					return err
				}
				continue
			}
			work := func(ctx context.Context, q pgx.Tx) error {
				if _, err := q.Exec(ctx, move, change, account); err != nil {
					return err
				}
				_, err := q.Exec(ctx, row, id, change)
				return err
			}
			if way == 1 {
				if err := adopt(ctx, tx, db, work); err != nil {
					return err
				}
				continue
			}
			if err := db.Do(ctx, tx, work); err != nil {
				return err
			}
		}
		if rng.IntN(10) == 0 {
			return errUnwilling
		}
		return nil
	})
}

// adopt does the work and prepares it by itself, on a connection of its own, and leaves it to
// the coordinator what has become of that.
func adopt(ctx context.Context, tx *dtc.Tx, db *postgres.Database, work func(context.Context, pgx.Tx) error) error {
	if err := tx.Enlist(db.ID(), []byte(`{"adopted":true}`)); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsnOf(db.ID()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	q, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if err := work(ctx, q); err != nil {
		return err
	}
	_, _ = conn.Exec(ctx, "PREPARE TRANSACTION '"+postgres.Name(tx.XID(), db.ID())+"'")
	return nil
}

// dsnOf returns where a child's database is.
func dsnOf(id string) string {
	var o grindOrders
	_ = json.Unmarshal([]byte(os.Getenv(grindEnv)), &o)
	return o.DSN[id[len(id)-1]-'0']
}

// told is what a caller of Run has heard.
func told(err error) string {
	switch {
	case err == nil:
		return "committed"
	case errors.Is(err, dtc.ErrRolledBack):
		return "rolled_back: " + err.Error()
	case errors.As(err, new(*dtc.HeuristicError)):
		return "heuristic"
	}
	return "nothing: " + err.Error()
}
