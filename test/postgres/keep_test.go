package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestKept: the connection on which a branch is prepared waits for the decision. It does not
// wait for long, nor is it needed.
func TestKept(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for name, late := range map[string]bool{"at-once": false, "late": true} {
		other := dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			err := poll(ctx, func() (bool, error) {
				prepared := w.count(t, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()") == 1
				return prepared && (w.pool.Stat().AcquiredConns() == 0) == late, nil
			})
			return dtc.VoteCommit, err
		}}
		c := open(t, w.db, other)
		err := c.Run(t.Context(), dtc.TxID(name), func(ctx context.Context, tx *dtc.Tx) error {
			if err := tx.Enlist("other", nil); err != nil {
				return err
			}
			return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
		w.clean(t)
	}
	if n := w.count(t, "SELECT count(*) FROM token"); n != 2 {
		t.Errorf("%d rows", n)
	}
}
