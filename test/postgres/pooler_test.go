package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// pooled opens the database as a participant behind a pooler in that mode.
func (w *world) pooled(t *testing.T, mode string) *proxied {
	t.Helper()
	p := &proxied{dsn: w.server.PgBouncer(t, mode).DSN(w.name)}
	var err error
	if p.db, err = postgres.Open(t.Context(), "orders", openPool(t, p.dsn), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.db.Close)
	return p
}

// TestPgBouncer: behind a pooler in transaction mode a branch is prepared on one connection
// of the server and ended on another.
func TestPgBouncer(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	p := w.pooled(t, "transaction")
	for way, work := range ways {
		for _, vote := range []dtc.Vote{dtc.VoteCommit, dtc.VoteAbort} {
			t.Run(way+"/"+vote.String(), func(t *testing.T) {
				var gid string
				var xid dtc.XID
				c := open(t, p.db, w.between(&gid, vote, func() {}))
				err := c.Run(t.Context(), "pooled", func(ctx context.Context, tx *dtc.Tx) error {
					xid, gid = tx.XID(), postgres.Name(tx.XID(), "orders")
					return errors.Join(tx.Enlist("other", nil), work(ctx, p, tx))
				})
				if vote == dtc.VoteCommit && err != nil || vote == dtc.VoteAbort && !errors.Is(err, dtc.ErrRolledBack) {
					t.Fatal(err)
				}
				if err := w.truth(c, "pooled", xid, err == nil); err != nil {
					t.Error(err)
				}
			})
		}
	}
	w.clean(t)
}

// TestOnePhaseBehindPgBouncer: the lock is held on the connection of the server that commits.
func TestOnePhaseBehindPgBouncer(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	bouncer := w.server.PgBouncer(t, "transaction").DSN(w.name)
	for _, settings := range []string{"", "&default_query_exec_mode=exec"} {
		db, err := postgres.Open(t.Context(), "orders", openPool(t, bouncer+settings), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		c := open(t, db)
		for way, work := range onceWays {
			var xid dtc.XID
			err := c.Run(t.Context(), dtc.TxID(way), func(ctx context.Context, tx *dtc.Tx) error {
				xid = tx.XID()
				return work(ctx, &proxied{db: db}, tx)
			})
			if err != nil {
				t.Fatalf("%s%s: %v", way, settings, err)
			}
			if err := w.truth(c, dtc.TxID(way), xid, true); err != nil {
				t.Errorf("%s%s: %v", way, settings, err)
			}
			if n := w.count(t, "SELECT count(*) FROM dtc_once WHERE tx_id = $1 AND log = $2 AND state = 'committed'", []byte(way), xid.Log.String()); n != 1 {
				t.Errorf("%s%s: %d rows of evidence", way, settings, n)
			}
			mustSettle(t, db, dtc.Branch{Participant: "orders", XID: xid, TxID: dtc.TxID(way)}, dtc.Committed)
		}
	}
	if n := w.count(t, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); n != 0 {
		t.Errorf("%d locks are left", n)
	}
	w.clean(t)
}

// TestSealsBehindPgBouncer: the number of a connection is the pooler's own; those whom a seal
// waits for are found all the same.
func TestSealsBehindPgBouncer(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	w.seals(t, w.server.PgBouncer(t, "transaction"), "&default_query_exec_mode=exec")
}

// TestStatementPooling: no transaction can be had there, and that is what is told, at once.
func TestStatementPooling(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	_, err := postgres.Open(t.Context(), "orders", openPool(t, w.server.PgBouncer(t, "statement").DSN(w.name)), nil)
	if !errors.Is(err, postgres.ErrUnusable) || !strings.Contains(err.Error(), "pool_mode") {
		t.Errorf("error %v", err)
	}
	w.clean(t)
}
