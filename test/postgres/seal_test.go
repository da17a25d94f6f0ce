package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// TestSealAmongMany: more seals than there are connections to finish with wait for sessions
// that have written their row and do not come to the prepare. All of those are ended.
func TestSealAmongMany(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	w.seals(t, w.server, "")
}

// seals has three sessions wait between their row and the prepare, until all give up on them.
// What would cancel them is lost, as where a network is.
func (w *world) seals(t *testing.T, front *servers.Server, settings string) {
	t.Helper()
	proxy, err := wire.New(wire.Postgres, front.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	for range 100 {
		proxy.Arm(wire.Cancel, 1, wire.CutRequest)
	}
	db, err := postgres.Open(t.Context(), "orders", openPool(t, w.server.Through(proxy.Port(), w.name)+settings), &postgres.Options{FinishConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w.exec(t, "CREATE TABLE gate (id int PRIMARY KEY)")
	w.exec(t, "INSERT INTO gate VALUES (1)")
	w.exec(t, `CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM gate FOR UPDATE; RETURN NULL; END $$`)
	// It is run by PREPARE TRANSACTION, when the row of the branch is in the table.
	w.exec(t, `CREATE CONSTRAINT TRIGGER passes AFTER INSERT ON token DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass()`)
	c, err := dtc.Open(t.TempDir(), &dtc.Config{Participants: []dtc.Participant{db}, Timing: dtc.Timing{PrepareTimeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	guard, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Exec(t.Context(), "SELECT 1 FROM gate FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			err := c.RunWith(t.Context(), dtc.TxID(fmt.Sprintf("gate-%d", i)), &dtc.TxOptions{CompletionWait: wire.Enough}, func(ctx context.Context, tx *dtc.Tx) error {
				return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
			})
			if !errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("error %v", err)
			}
		})
	}
	all.Wait()
	eventually(t, "all end while the gate is shut", func() bool { return c.Stats().Unfinished == 0 })
	if err := guard.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
	w.clean(t)
}

// TestSealSparesMaintenance: a seal that waits for the table, and not for a row, waits: who
// makes an index is not ended.
func TestSealSparesMaintenance(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	maintenance, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maintenance.Exec(t.Context(), "LOCK TABLE dtc_branch IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	err = c.RunWith(t.Context(), "waits", &dtc.TxOptions{PrepareTimeout: 500 * time.Millisecond}, func(ctx context.Context, tx *dtc.Tx) error {
		return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
	})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("error %v", err)
	}
	// Somebody looks for whom the seal waits, several times.
	eventually(t, "the seal waits", func() bool {
		return w.count(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%ON CONFLICT DO NOTHING%'"+
			" AND now() - query_start > interval '700 ms' AND datname = current_database()") > 0
	})
	if err := maintenance.Commit(t.Context()); err != nil {
		t.Errorf("the maintenance was ended: %v", err)
	}
	eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
	w.clean(t)
}

// TestForeignUnderTheName: somebody else has prepared something under the name of a branch,
// which is not the work that was done in it.
func TestForeignUnderTheName(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	var xid dtc.XID
	err := c.Run(t.Context(), "foreign", func(ctx context.Context, tx *dtc.Tx) error {
		xid = tx.XID()
		w.exec(t, "BEGIN; INSERT INTO token VALUES ('foreign'); PREPARE TRANSACTION '"+postgres.Name(xid, "orders")+"'")
		return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, xid) })
	})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("error %v", err)
	}
	eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
	if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
	w.clean(t)
}

// TestNamesAreTheClusters: a name that is prepared in another database of the server is in
// the way, and is nobody's business here. Foreign names are never touched.
func TestNamesAreTheClusters(t *testing.T) {
	server := servers.SharedPostgres(t)
	w, v := newWorld(t, server), newWorld(t, server)
	c := open(t, w.db)
	var gid string
	var log dtc.LogID
	err := c.Run(t.Context(), "elsewhere", func(ctx context.Context, tx *dtc.Tx) error {
		log, gid = tx.XID().Log, postgres.Name(tx.XID(), "orders")
		v.exec(t, "BEGIN; INSERT INTO token VALUES ('elsewhere'); PREPARE TRANSACTION '"+gid+"'")
		w.exec(t, "BEGIN; INSERT INTO token VALUES ('foreign'); PREPARE TRANSACTION 'somebody else''s'")
		return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
	})
	var state interface{ SQLState() string }
	if !errors.Is(err, dtc.ErrRolledBack) || !errors.As(err, &state) || state.SQLState() != "42710" {
		t.Errorf("error %v", err)
	}
	listed, err := w.db.InDoubt(t.Context(), log)
	if err != nil || len(listed) != 0 {
		t.Errorf("listed: %v, %v", listed, err)
	}
	eventually(t, "it is shown what is in the way", func() bool {
		info, err := c.Transaction("elsewhere")
		return err == nil && len(info.Branches) == 1 && strings.Contains(info.Branches[0].LastError, "from the database in which it was prepared")
	})
	v.exec(t, "COMMIT PREPARED '"+gid+"'")
	eventually(t, "it ends when that has ended", func() bool { return c.Stats().Unfinished == 0 })
	w.exec(t, "COMMIT PREPARED 'somebody else''s'")
	if n := w.count(t, "SELECT count(*) FROM token WHERE xid = 'foreign'"); n != 1 {
		t.Errorf("%d rows of the transaction with a foreign name", n)
	}
}
