package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestOlderTables: tables of the form that had a key of the name alone do as well.
func TestOlderTables(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	w.exec(t, `DROP TABLE dtc_branch; CREATE TABLE dtc_branch (
		name varchar(129) COLLATE "C" PRIMARY KEY, participant varchar(64) COLLATE "C" NOT NULL, log varchar(16) COLLATE "C" NOT NULL,
		incarnation bigint NOT NULL, seq bigint NOT NULL, tx_id bytea NOT NULL,
		state varchar(12) COLLATE "C" NOT NULL CHECK (state IN ('committed', 'rolled_back', 'adopted')), xact xid8);
		CREATE INDEX dtc_branch_order ON dtc_branch (participant, log, incarnation, seq)`)
	db := w.participant(t, "older", &postgres.Options{PruneEvery: -1, TwoPhases: true})
	c := open(t, db)
	other := w.participant(t, "older", &postgres.Options{PruneEvery: -1, TwoPhases: true})
	for _, tt := range []struct {
		id   string
		want error
		fn   func(ctx context.Context, q pgx.Tx, xid dtc.XID) error
	}{
		{"commits", nil, execs(insertToken)},
		{"reads", nil, execs("SELECT 1")},
		{"is-rolled-back", dtc.ErrRolledBack, func(ctx context.Context, q pgx.Tx, xid dtc.XID) error {
			return errors.Join(other.Rollback(ctx, dtc.Branch{Participant: "older", XID: xid}), insert(ctx, q, xid))
		}},
		{"is-over", dtc.ErrRolledBack, func(ctx context.Context, q pgx.Tx, xid dtc.XID) error {
			low := xid
			low.Seq++
			err := other.Rollback(ctx, dtc.Branch{Participant: "older", XID: xid, LowWater: low})
			if n, perr := other.Prune(ctx); n == 0 {
				err = errors.Join(err, perr, errors.New("nothing was dropped"))
			}
			return errors.Join(err, insert(ctx, q, xid))
		}},
	} {
		if _, err := w.once(t, c, db, tt.id, tt.fn); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.id, err, tt.want)
		}
	}
	// The last one was sealed once more.
	if n := w.count(t, "SELECT count(*) FROM dtc_branch"); n != 1 {
		t.Errorf("%d rows of branches", n)
	}
}
