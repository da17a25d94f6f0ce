package postgres_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

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

// TestKeptTogether: all connections that are kept for too long are given back, also those that
// were kept a little later, and those that are kept after that.
func TestKeptTogether(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	const together = 3
	for round := range 2 {
		complete := make(chan struct{}) // closed when all are prepared
		other := dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
			<-complete
			err := poll(ctx, func() (bool, error) { return w.pool.Stat().AcquiredConns() == 0, nil })
			if err != nil {
				return dtc.VoteAbort, err
			}
			return dtc.VoteCommit, nil
		}}
		c, err := dtc.Open(filepath.Join(t.TempDir(), "log"), &dtc.Config{
			Participants: []dtc.Participant{w.db, other}, Timing: dtc.Timing{PrepareTimeout: time.Minute, PrepareAttempt: time.Minute},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var all sync.WaitGroup
		for n := range together {
			all.Go(func() {
				err := c.Run(t.Context(), dtc.TxID(fmt.Sprintf("%d-%d", round, n)), func(ctx context.Context, tx *dtc.Tx) error {
					if err := tx.Enlist("other", nil); err != nil {
						return err
					}
					return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
				})
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
			eventually(t, "it is prepared", func() bool {
				return w.count(t, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()") == n+1
			})
		}
		close(complete)
		all.Wait()
		eventually(t, "all end", func() bool { return c.Stats().Unfinished == 0 })
	}
	w.clean(t)
}
