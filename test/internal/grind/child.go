package grind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
)

// env holds the orders of a child that moves money between two databases.
const env = "DTC_TEST_GRIND"

type orders struct {
	Log, Journal string
	DSN          [2]string // through the proxies
	Seed         uint64
	First, Last  int   // the transactions to run
	Ask          []int // the transactions whose outcome is asked when all has ended
}

const (
	workers  = 8
	accounts = 64
)

// Bank is one of the two databases, as a child sees it.
type Bank interface {
	dtc.Participant
	Ping(ctx context.Context) error
	// Move enlists the bank and does the work of its branch.
	Move(ctx context.Context, tx *dtc.Tx, m Move) error
}

// Move is the work of one branch: it adds an amount to an account, and writes a row that
// says so.
type Move struct {
	ID      int // of the transaction
	Account int
	Amount  int64
	Way     Way
}

// Way is how the work is done.
type Way int

// The ways.
const (
	Do         Way = iota
	Statements     // by the participant, when the function has ended
	Adopted        // it prepares by itself, and leaves it to the coordinator what has become of that
)

var errUnwilling = errors.New("it was not to be")

// IsChild reports whether this process is a child of the test.
func IsChild() bool { return os.Getenv(env) != "" }

// Child runs transactions until it is killed or has run them all, and notes in a journal
// what it begins and what it is told. It returns the exit code. open opens a database whose
// server may be away.
func Child(open func(ctx context.Context, id, dsn string) (Bank, error)) int {
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(env)), &o); err != nil {
		return Complain(err)
	}
	go func() { // whoever would kill us is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	journal, err := os.OpenFile(o.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Complain(err)
	}
	note := func(what string, id int, rest string) { // one write, which a kill cannot tear
		if _, err := fmt.Fprintf(journal, "%s %d %s\n", what, id, rest); err != nil {
			os.Exit(Complain(err))
		}
	}
	ctx := context.Background()
	var banks [2]Bank
	for i := range banks {
		if banks[i], err = patiently(ctx, open, fmt.Sprintf("bank-%d", i), o.DSN[i]); err != nil {
			return Complain(err)
		}
	}
	c, err := dtc.Open(o.Log, &dtc.Config{
		Participants: []dtc.Participant{banks[0], banks[1]}, SweepInterval: 300 * time.Millisecond, CompletionWait: 50 * time.Millisecond,
		Timing: dtc.Timing{PrepareTimeout: 3 * time.Second, FinishAttempt: 3 * time.Second, FinishBackoffCap: 300 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return Complain(err)
	}
	fmt.Println(`{"url":"ready"}`)
	var next atomic.Int64
	next.Store(int64(o.First))
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for id := int(next.Add(1)) - 1; id <= o.Last; id = int(next.Add(1)) - 1 {
				for _, bank := range banks { // else most would fail while a server starts
					for bank.Ping(ctx) != nil {
						time.Sleep(20 * time.Millisecond)
					}
				}
				note("begun", id, "")
				note("told", id, told(transfer(ctx, c, banks, id, o.Seed)))
			}
		})
	}
	all.Wait()
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

// Complain says why a child ends, and returns its exit code.
func Complain(err error) int {
	fmt.Fprintln(os.Stderr, "child:", err)
	return 2
}

func txID(id int) dtc.TxID { return dtc.TxID(fmt.Sprintf("transfer-%d", id)) }

func patiently(ctx context.Context, open func(ctx context.Context, id, dsn string) (Bank, error), id, dsn string) (Bank, error) {
	for try := 0; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		bank, err := open(attempt, id, dsn)
		cancel()
		if err == nil || try > 100 {
			return bank, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// transfer moves money from one database to the other. The work of each branch is done in
// one of the three ways.
func transfer(ctx context.Context, c *dtc.Coordinator, banks [2]Bank, id int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, uint64(id)))
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	amount := rng.Int64N(100) + 1
	return c.Run(ctx, txID(id), func(ctx context.Context, tx *dtc.Tx) error {
		for i, bank := range banks {
			m := Move{ID: id, Account: rng.IntN(accounts), Amount: amount * int64(1-2*i)}
			if way := rng.IntN(8); way <= 1 {
				m.Way = Statements + Way(way)
			}
			if err := bank.Move(ctx, tx, m); err != nil {
				return err
			}
		}
		if rng.IntN(10) == 0 {
			return errUnwilling
		}
		return nil
	})
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
