package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// once runs one transaction with that function in the database, and returns what was told.
func (w *world) once(t *testing.T, c *dtc.Coordinator, db *postgres.Database, id string, fn func(ctx context.Context, q pgx.Tx, xid dtc.XID) error) (xid dtc.XID, err error) {
	t.Helper()
	err = c.Run(t.Context(), dtc.TxID(id), func(ctx context.Context, tx *dtc.Tx) error {
		xid = tx.XID()
		return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return fn(ctx, q, xid) })
	})
	eventually(t, "the transaction ends", func() bool { return c.Stats().Unfinished == 0 })
	w.clean(t)
	return xid, err
}

func execs(list ...string) func(ctx context.Context, q pgx.Tx, xid dtc.XID) error {
	return func(ctx context.Context, q pgx.Tx, xid dtc.XID) error {
		for _, sql := range list {
			if _, err := q.Exec(ctx, strings.ReplaceAll(sql, "{xid}", xid.String())); err != nil {
				return err
			}
		}
		return nil
	}
}

const insertToken = "INSERT INTO token (xid) VALUES ('{xid}')"

// TestCannotBePrepared: what PostgreSQL does not prepare, and what nobody could finish, is a
// vote to abort that says why, and leaves nothing.
func TestCannotBePrepared(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	w.exec(t, "CREATE ROLE other_"+w.name)
	w.exec(t, "GRANT ALL ON ALL TABLES IN SCHEMA public TO other_"+w.name)
	c := open(t, w.db)
	for i, tt := range []struct{ sql, text string }{
		{"CREATE TEMP TABLE x (n int)", "0A000"},
		{"LISTEN x", "0A000"},
		{"NOTIFY x", "0A000"},
		{"DECLARE x CURSOR WITH HOLD FOR SELECT 1", "0A000"},
		{"SELECT pg_export_snapshot()", "0A000"},
		{"SET LOCAL ROLE other_" + w.name, "RESET ROLE"},
		{"SET TRANSACTION READ ONLY", "read-only"},
	} {
		xid, err := w.once(t, c, w.db, fmt.Sprintf("cannot-%d", i), execs(insertToken, tt.sql))
		if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: error %v, want one that says %q", tt.sql, err, tt.text)
		}
		if n := w.count(t, "SELECT count(*) FROM token WHERE xid = $1", xid.String()); n != 0 {
			t.Errorf("%s: %d rows", tt.sql, n)
		}
	}
}

// TestReadOnlyTransactions: a branch that only reads holds nothing. What a serializable one
// has read is valid only when the server has let it end well, so it is prepared as any other.
func TestReadOnlyTransactions(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for name, opts := range map[string]pgx.TxOptions{
		"read-committed":         {},
		"repeatable-read":        {IsoLevel: pgx.RepeatableRead},
		"serializable":           {IsoLevel: pgx.Serializable},
		"read-only":              {AccessMode: pgx.ReadOnly},
		"serializable-read-only": {IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly},
	} {
		db := w.participant(t, name, &postgres.Options{TxOptions: opts, TwoPhases: true})
		c := open(t, db)
		if _, err := w.once(t, c, db, name, execs("SELECT count(*) FROM token")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := 0
		if opts.IsoLevel == pgx.Serializable && opts.AccessMode == "" {
			want = 1 // it was prepared
		}
		if n := w.count(t, "SELECT count(*) FROM dtc_branch WHERE participant = $1", name); n != want {
			t.Errorf("%s: %d rows of branches, want %d", name, n, want)
		}
	}
}

// TestSearchPath: the function moves to another schema, where a table of the same name is.
func TestSearchPath(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	create, err := postgres.Schema("")
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, `CREATE SCHEMA "Tenant"; SET search_path = "Tenant"; `+create+`; RESET search_path`)
	c := open(t, w.db)
	if _, err := w.once(t, c, w.db, "moves", execs(insertToken, `SET LOCAL search_path = "Tenant"`)); err != nil {
		t.Error(err)
	}
	if n := w.count(t, "SELECT count(*) FROM public.dtc_branch"); n != 1 {
		t.Errorf("%d rows where the participant is", n)
	}
	if n := w.count(t, `SELECT count(*) FROM "Tenant".dtc_branch`); n != 0 {
		t.Errorf("%d rows where the function has gone", n)
	}
}

// TestSettingsStay: a setting that was made for the session outlives the branch, as with any
// transaction of a pool, and unlike with any other it outlives the rollback of a prepared
// branch too.
func TestSettingsStay(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	refuses := dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
		return dtc.VoteAbort, poll(ctx, func() (bool, error) {
			return w.count(t, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()") == 1, nil
		})
	}}
	c := open(t, w.db, refuses)
	var pid int
	err := c.Run(t.Context(), "sets", func(ctx context.Context, tx *dtc.Tx) error {
		if err := tx.Enlist("other", nil); err != nil {
			return err
		}
		return w.db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
			if err := q.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
				return err
			}
			return execs(insertToken, "SET work_mem = '77MB'", "SET LOCAL lock_timeout = '77s'")(ctx, q, tx.XID())
		})
	})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Fatal(err)
	}
	for _, conn := range w.pool.AcquireAllIdle(t.Context()) {
		var here int
		var mem, timeout string
		err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid(), current_setting('work_mem'), current_setting('lock_timeout')").Scan(&here, &mem, &timeout)
		conn.Release()
		if err != nil {
			t.Fatal(err)
		}
		if here == pid && (mem != "77MB" || timeout != "0") {
			t.Errorf("work_mem is %s and lock_timeout %s: PostgreSQL has changed, and so must the guide", mem, timeout)
		}
	}
}

// TestGivenUp: the caller of a prepare has given up before it begins, which happens where
// there are more calls than time. It returns all the same, and the next attempt is as good.
func TestGivenUp(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	x := dtc.XID{Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Seq: 1}
	_, _ = rand.Read(x.Log[:]) // never fails
	b := dtc.Branch{
		Participant: "orders", XID: x, TxID: "given-up", Attempt: 1,
		Payload: statements(postgres.Statement{SQL: "INSERT INTO token (xid) VALUES ($1)", Args: args(x.String())}),
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	returned := make(chan error, 1)
	go func() {
		for range 30 { // of what is ready at the same time one is chosen at random
			if v, err := w.db.Prepare(gone, b); v != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) {
				returned <- fmt.Errorf("vote %v, error: %w", v, err)
				return
			}
		}
		returned <- nil
	}()
	select {
	case err := <-returned:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a call does not return")
	}
	b.Attempt = 2
	if v, err := w.db.Prepare(t.Context(), b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	if err := w.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, applied, err := w.effect(x, "orders"); err != nil || applied != 1 {
		t.Errorf("applied: %d, error: %v", applied, err)
	}
	w.clean(t)
}

// TestRolledBackUnderIt: the context given to a function ends when the transaction is rolled
// back under it, and what the function says then does not count.
func TestRolledBackUnderIt(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	c := open(t, w.db)
	failed := errors.New("something else has failed")
	done := make(chan error, 1)
	err := c.Run(t.Context(), "under-it", func(_ context.Context, tx *dtc.Tx) error {
		working := make(chan struct{})
		go func() {
			done <- w.db.Do(t.Context(), tx, func(ctx context.Context, q pgx.Tx) error {
				err := insert(ctx, q, tx.XID())
				close(working)
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
					t.Error("the context does not end")
				}
				return err
			})
		}()
		<-working
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("the function worked in what was rolled back: error %v", err)
	}
	if n := w.count(t, "SELECT count(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
	eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
	w.clean(t)
}
