// Command transfer moves money between accounts in a PostgreSQL database and accounts in
// a MariaDB database, all the time. It may be killed at any moment, and so may the
// databases: each transfer is in both or in none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/examples/transfer/bank"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/postgres"
)

var (
	pgURL     = flag.String("postgres", "", "address of the PostgreSQL database, as postgres://USER@HOST/DATABASE")
	mariaDSN  = flag.String("mariadb", "", "address of the MariaDB database, as USER@tcp(HOST:PORT)/DATABASE")
	data      = flag.String("data", "transfer-log", "directory of the decision log, which must survive: without it nobody knows what was decided")
	transfers = flag.Int64("transfers", 0, "stop after so many; 0: when interrupted")
	workers   = flag.Int("workers", 4, "how many are made at a time")
	check     = flag.Bool("check", false, "make none, and see whether the sums are right")
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("transfer: ")
	slog.SetLogLoggerLevel(slog.LevelWarn) // that some accounts are empty is no news
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		stop()
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	b, err := bank.Open(ctx, *pgURL, *mariaDSN)
	if err != nil {
		return err
	}
	defer b.Close()
	if *check {
		return b.Check(ctx)
	}
	// The databases are participants under names that stay the same for ever: the log
	// calls them so.
	pg, err := retry(ctx, func() (*postgres.Database, error) { return postgres.Open(ctx, "postgres", b.Postgres, nil) })
	if err != nil {
		return err
	}
	defer pg.Close()
	maria, err := retry(ctx, func() (*mysql.Database, error) { return mysql.Open(ctx, "mariadb", b.MariaDB, b.Connector, nil) })
	if err != nil {
		return err
	}
	defer maria.Close()
	// What an earlier run has decided and not finished is finished from here on, and what
	// it has left undecided is rolled back.
	c, err := dtc.Open(*data, &dtc.Config{Participants: []dtc.Participant{pg, maria}, SweepInterval: 2 * time.Second})
	if err != nil {
		return err
	}
	defer c.Close()
	// The accounts come after it: they may be locked by what was left, which nobody else
	// can finish.
	if _, err := retry(ctx, func() (any, error) { return nil, b.Create(ctx) }); err != nil {
		return err
	}

	var all sync.WaitGroup
	var done atomic.Int64
	failed := make(chan error, *workers)
	interrupted := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := fmt.Sprintf("%x", time.Now().UnixNano()) // of this run: an id is used once
	for w := range *workers {
		all.Go(func() {
			for n := 1; ctx.Err() == nil && (*transfers == 0 || done.Load() < *transfers); n++ {
				err := move(ctx, c, pg, maria, bank.Random(fmt.Sprintf("%s-%d-%d", name, w, n)))
				switch {
				case err == nil:
					done.Add(1)
				case errors.Is(err, dtc.ErrRolledBack): // it said why, and nothing has happened
					pause(ctx, 50*time.Millisecond)
				case ctx.Err() != nil:
				default:
					failed <- err
					cancel()
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	// A run that comes to its end leaves nothing behind, if the databases are there. One
	// that is interrupted leaves it to the next.
	for interrupted.Err() == nil && c.Stats().Unfinished > 0 {
		pause(interrupted, 20*time.Millisecond)
	}
	return nil
}

// move makes one transfer. Nil means that it is committed in both databases, or surely
// will be, whatever is killed from now on.
func move(ctx context.Context, c *dtc.Coordinator, pg *postgres.Database, maria *mysql.Database, t bank.Transfer) error {
	err := c.Run(ctx, dtc.TxID(t.ID), func(ctx context.Context, tx *dtc.Tx) error {
		// PostgreSQL always comes first, so that two transfers cannot wait for one another.
		if err := pg.Do(ctx, tx, t.InPostgres); err != nil {
			return err
		}
		return maria.Do(ctx, tx, t.InMariaDB)
	})
	if err == nil {
		fmt.Println("committed", t)
	}
	return err
}

// retry opens what may be down for now. What is there and cannot be used is an error.
func retry[T any](ctx context.Context, open func() (T, error)) (T, error) {
	for told := false; ; told = true {
		v, err := open()
		if err == nil || errors.Is(err, postgres.ErrUnusable) || errors.Is(err, mysql.ErrUnusable) || ctx.Err() != nil {
			return v, err
		}
		if !told {
			log.Printf("waiting: %v", err)
		}
		pause(ctx, time.Second/4+rand.N(time.Second/4))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
