package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestOvertaken: a branch is rolled back while its function still works, by somebody who
// does not see it. What it proves then meets the row; or low water, where the row is gone.
// A branch that sees the state of its beginning would not see low water, so that its row
// must not go before it has ended.
func TestOvertaken(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		for _, low := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/low=%v", level, low), func(t *testing.T) {
				id := strings.ReplaceAll(string(level), " ", "-")
				opts := &postgres.Options{TxOptions: pgx.TxOptions{IsoLevel: level}, PruneEvery: -1, TwoPhases: true}
				db, other := w.participant(t, id, opts), w.participant(t, id, opts)
				c := open(t, db)
				text, rows := "already rolled back", 1
				if low && level == pgx.ReadCommitted {
					text, rows = "below low water", 0
				}
				var b dtc.Branch
				err := c.Run(t.Context(), dtc.NewTxID(), func(ctx context.Context, tx *dtc.Tx) error {
					return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
						if _, err := q.Exec(ctx, "SELECT count(*) FROM token"); err != nil { // the snapshot is taken
							return err
						}
						b = dtc.Branch{Participant: id, XID: tx.XID(), Attempt: 1}
						if low {
							b.LowWater = tx.XID()
							b.LowWater.Seq++
						}
						if err := other.Rollback(ctx, b); err != nil {
							return err
						}
						if _, err := other.Prune(ctx); err != nil {
							return err
						}
						if n := w.count(t, "SELECT count(*) FROM dtc_branch WHERE participant = $1 AND log = $2", id, b.XID.Log.String()); n != rows {
							t.Errorf("%d rows of the branch, want %d", n, rows)
						}
						return insert(ctx, q, tx.XID())
					})
				})
				if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), text) {
					t.Errorf("error %v, want one that says %q", err, text)
				}
				eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
				if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
					t.Errorf("%d rows", n)
				}
				w.clean(t)
				if _, err := other.Prune(t.Context()); err != nil {
					t.Error(err)
				}
				want := 1
				if low {
					want = 0 // also the row that the rollback afterwards has sealed it with
				}
				if n := w.count(t, "SELECT count(*) FROM dtc_branch WHERE participant = $1 AND log = $2", id, b.XID.Log.String()); n != want {
					t.Errorf("in the end %d rows of the branch, want %d", n, want)
				}
			})
		}
	}
}

// TestOvertakenInOnePhase: the same for a branch that would be committed in one phase, and is
// settled.
func TestOvertakenInOnePhase(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		for _, low := range []bool{false, true} {
			opts := &postgres.Options{TxOptions: pgx.TxOptions{IsoLevel: level}, PruneEvery: -1}
			db, other := w.participant(t, "orders", opts), w.participant(t, "orders", opts)
			c := open(t, db)
			rows := 1
			if low && level == pgx.ReadCommitted {
				rows = 0
			}
			err := c.Run(t.Context(), dtc.NewTxID(), func(ctx context.Context, tx *dtc.Tx) error {
				return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
					if _, err := q.Exec(ctx, "SELECT count(*) FROM token"); err != nil { // the snapshot is taken
						return err
					}
					b := dtc.Branch{Participant: "orders", XID: tx.XID(), TxID: tx.ID()}
					if low {
						b.LowWater = tx.XID()
						b.LowWater.Seq++
					}
					mustSettle(t, other, b, dtc.RolledBack)
					if _, err := other.Prune(ctx); err != nil {
						return err
					}
					if n := w.count(t, "SELECT count(*) FROM dtc_once WHERE log = $1", b.XID.Log.String()); n != rows {
						t.Errorf("%s, low: %v: %d rows, want %d", level, low, n, rows)
					}
					return insert(ctx, q, tx.XID())
				})
			})
			if !errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("%s, low: %v: error %v", level, low, err)
			}
			eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
			if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
				t.Errorf("%s, low: %v: %d rows", level, low, n)
			}
		}
	}
	w.clean(t)
}
