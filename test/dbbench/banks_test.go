package dbbench_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
)

// banks are two participants, and how each kind of database does its work.
type banks struct {
	participants [2]dtc.Participant
	// branch does the work in a branch of a transaction.
	branch func(ctx context.Context, tx *dtc.Tx, at int, account int64) error
	// loop does it without dtc, and keeps a row of each branch if row is set. Decide is called
	// where there are two phases.
	loop  func(ctx context.Context, n int64, row bool, decide func()) error
	spent func() (cost, error) // or nil, see compare
}

// tables makes what the work needs. Series is a table whose column n counts the accounts.
func tables(b *testing.B, series string, exec func(ctx context.Context, sql string) error) {
	b.Helper()
	for _, sql := range []string{
		"CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
		"CREATE TABLE done (name varchar(64) PRIMARY KEY)",
		"INSERT INTO account SELECT n, 0 FROM " + series,
	} {
		if err := exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
}

// twoPhases moves something in two databases: with dtc; with a loop that prepares both at
// once, syncs its decision to a file, sharing the sync with others, and commits both at once;
// with that loop and a row in each branch that says that it was done, as dtc has one; and with
// the loop without the file.
func (s *banks) twoPhases(b *testing.B) {
	s.each(b, func(b *testing.B, c *dtc.Coordinator) []kind {
		file, err := measure.OpenBare(filepath.Join(b.TempDir(), "decisions"), 64<<20)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { file.Close() })
		decide := func() { file.Append(make([]byte, 100)) }
		return []kind{
			{"dtc", s.dtc(b, c, 0, 1)},
			{"loop", s.byHand(b, false, decide)},
			{"row", s.byHand(b, true, decide)},
			{"no-log", s.byHand(b, false, func() {})},
		}
	})
}

// onePhase changes one row in one database: with dtc, in one phase; with a loop that writes a
// row that says that it was done, as dtc does; with a loop that does not; and with dtc in two
// phases, which the second participant takes.
func (s *banks) onePhase(b *testing.B) {
	s.each(b, func(b *testing.B, c *dtc.Coordinator) []kind {
		return []kind{
			{"dtc", s.dtc(b, c, 0)},
			{"row", s.byHand(b, true, nil)},
			{"loop", s.byHand(b, false, nil)},
			{"two-phases", s.dtc(b, c, 1)},
		}
	})
}

// each compares the kinds with one worker and with more.
func (s *banks) each(b *testing.B, kinds func(b *testing.B, c *dtc.Coordinator) []kind) {
	b.Helper()
	once := func(b *testing.B, workers int) {
		c, err := dtc.Open(filepath.Join(b.TempDir(), "log"), &dtc.Config{
			Participants: s.participants[:], Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		compare(b, workers, kinds(b, c), s.spent)
	}
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			for range b.N {
				once(b, workers)
			}
		})
	}
}

// dtc does the work in one transaction at some of the participants.
func (s *banks) dtc(b *testing.B, c *dtc.Coordinator, at ...int) func(n int64) error {
	return func(n int64) error {
		return c.Run(b.Context(), dtc.TxID(fmt.Sprintf("bench-%d", n)), func(ctx context.Context, tx *dtc.Tx) error {
			for _, i := range at {
				if err := s.branch(ctx, tx, i, n%accounts); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (s *banks) byHand(b *testing.B, row bool, decide func()) func(n int64) error {
	return func(n int64) error { return s.loop(b.Context(), n, row, decide) }
}

// both does something in the two databases at once.
func both(do func(at int) error) error {
	other := make(chan error, 1)
	go func() { other <- do(1) }()
	err := do(0)
	if oerr := <-other; err == nil {
		err = oerr
	}
	return err
}
