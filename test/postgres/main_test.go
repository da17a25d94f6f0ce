// Package postgres_test tries PostgreSQL as a participant against real servers.
package postgres_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/grind"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

func TestMain(m *testing.M) {
	switch {
	case grind.IsChild():
		os.Exit(grind.Child(openBank))
	case grind.IsDoubtChild():
		os.Exit(grind.DoubtChild(openDoubtful, doubtful))
	}
	os.Exit(servers.Main(m))
}

// world is a server with one database, taking part as "orders".
type world struct {
	server *servers.Server
	name   string // of the database
	dsn    string
	pool   *pgxpool.Pool
	db     *postgres.Database // which takes two phases always
	one    *postgres.Database // which does not
}

func newWorld(t *testing.T, server *servers.Server) *world {
	t.Helper()
	name := servers.NewName()
	server.NewDatabase(t, name)
	w := &world{server: server, name: name, dsn: server.DSN(name)}
	w.pool = openPool(t, w.dsn)
	w.exec(t, "CREATE TABLE token (xid text NOT NULL)")
	w.db = w.participant(t, "orders", &postgres.Options{TwoPhases: true})
	w.one = w.participant(t, "orders", nil)
	return w
}

func openPool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (w *world) participant(t *testing.T, id string, opts *postgres.Options) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(t.Context(), id, w.pool, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.pool.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if err := w.pool.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// effect is what can be seen of a branch from outside.
func (w *world) effect(x dtc.XID, id string) (held bool, applied int, err error) {
	ctx := context.Background()
	err = w.pool.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_prepared_xacts WHERE gid = $1)", postgres.Name(x, id)).Scan(&held)
	if err == nil {
		err = w.pool.QueryRow(ctx, "SELECT count(*) FROM token WHERE xid = $1", x.String()).Scan(&applied)
	}
	return held, applied, err
}

// statements makes a payload of statements without arguments that were text already.
func statements(list ...postgres.Statement) []byte {
	b, err := json.Marshal(postgres.Statements{Statements: list})
	if err != nil {
		panic(err)
	}
	return b
}

func arg(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func open(t *testing.T, list ...dtc.Participant) *dtc.Coordinator {
	t.Helper()
	c, err := dtc.Open(filepath.Join(t.TempDir(), "log"), &dtc.Config{
		Participants: list, SweepInterval: time.Second,
		// The machine may be slow, and somebody waits for what was not possible at first.
		Timing: dtc.Timing{PrepareTimeout: wire.Enough, PrepareAttempt: 10 * time.Second, FinishBackoffCap: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 6000 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

func args(list ...any) (all []json.RawMessage) {
	for _, v := range list {
		all = append(all, arg(v))
	}
	return all
}

func insert(ctx context.Context, q pgx.Tx, xid dtc.XID) error {
	_, err := q.Exec(ctx, "INSERT INTO token (xid) VALUES ($1)", xid.String())
	return err
}

// clean checks that nothing is left in the database, nor in the pool.
func (w *world) clean(t *testing.T) {
	t.Helper()
	if n := w.count(t, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"); n != 0 {
		t.Errorf("%d transactions are left prepared", n)
	}
	// What keeps rows within bounds may be at work for a moment, and a pooler may have a connection between two messages.
	eventually(t, "no connection is in a transaction", func() bool {
		return w.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`) == 0
	})
	// One that is closed is given back by a goroutine.
	eventually(t, "the pool has its connections back", func() bool { return w.pool.Stat().AcquiredConns() == 0 })
}
