package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// gate makes whoever commits a row of token wait while it is shut.
func (w *world) gate(t *testing.T) (open func()) {
	t.Helper()
	w.exec(t, `CREATE TABLE gate (id int PRIMARY KEY); INSERT INTO gate VALUES (1);
		CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM gate FOR UPDATE; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER passes AFTER INSERT ON token DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass()`)
	guard, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Exec(t.Context(), "SELECT 1 FROM gate FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := guard.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) atGate(t *testing.T) (pid int) {
	t.Helper()
	const at = " FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%commit%'"
	eventually(t, "somebody waits at the gate", func() bool { return w.count(t, "SELECT count(*)"+at) == 1 })
	return w.count(t, "SELECT pid"+at)
}

// TestFence: two processes serve one log, of which one does not know yet that its time is
// over. Its commit is on its way when the other one gives its first answer: in the middle of
// it, or not begun.
func TestFence(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		w := newWorld(t, servers.SharedPostgres(t))
		old, next, s := w.mode(t, "cache_statement"), w.mode(t, "exec"), newSeries()
		mustCommitOnce(t, old, s.branch("first"))
		under, late := s.branch("under-way"), s.branch("late")
		open := w.gate(t)
		done := make(chan error, 1)
		go func() {
			v, err := old.CommitOnePhase(context.WithoutCancel(t.Context()), under)
			if v != dtc.VoteAbort || err == nil {
				err = fmt.Errorf("vote %v, error: %w", v, err)
			} else {
				err = nil
			}
			done <- err
		}()
		pid := w.atGate(t)
		s.incarnation++
		if stopped {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			o, err := next.Settle(ctx, s.branch("asks"))
			cancel()
			if o != dtc.OutcomeUnknown || !errors.Is(err, dtc.ErrNoAnswer) {
				t.Errorf("while a process is stopped: %v, %v", o, err)
			}
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		mustSettle(t, next, s.branch("never-came"), dtc.RolledBack)
		open()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if v, err := old.CommitOnePhase(t.Context(), late); v != dtc.VoteAbort || err == nil {
			t.Errorf("late: %v, %v", v, err)
		}
		for _, b := range []dtc.Branch{under, late} {
			if n := w.rows(t, string(b.TxID)); n != 0 {
				t.Errorf("%s: %d rows", b.TxID, n)
			}
			again := s.branch(string(b.TxID))
			mustCommitOnce(t, next, again)
			mustSettle(t, old, b, dtc.Committed)
			if x, err := old.Prove(t.Context(), s.log, b.TxID); x != again.XID || err != nil {
				t.Errorf("%s: proof %v, %v", b.TxID, x, err)
			}
			if n := w.rows(t, string(b.TxID)); n != 1 {
				t.Errorf("%s: %d rows", b.TxID, n)
			}
		}
		w.clean(t)
	}
}

// TestFenceAndSnapshots: a transaction whose snapshot is older than the fence sees it all the
// same, and commits in one phase otherwise, with evidence.
func TestFenceAndSnapshots(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	other := w.participant(t, "orders", nil)
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		db := w.participant(t, "orders", &postgres.Options{TxOptions: pgx.TxOptions{IsoLevel: level}})
		c := open(t, db)
		for _, fenced := range []bool{false, true} {
			var xid dtc.XID
			err := c.Run(t.Context(), dtc.NewTxID(), func(ctx context.Context, tx *dtc.Tx) error {
				return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error {
					xid = tx.XID()
					if _, err := q.Exec(ctx, "SELECT count(*) FROM token"); err != nil {
						return err
					}
					if fenced {
						b := dtc.Branch{Participant: "orders", TxID: "later", XID: xid}
						b.XID.Incarnation.Number++
						mustSettle(t, other, b, dtc.RolledBack)
					}
					return insert(ctx, q, xid)
				})
			})
			if fenced != errors.Is(err, dtc.ErrRolledBack) || !fenced && err != nil {
				t.Errorf("%s, fenced: %v: error %v", level, fenced, err)
			}
			want := 1
			if fenced {
				want = 0
			}
			if n := w.rows(t, xid.String()); n != want {
				t.Errorf("%s, fenced: %v: %d rows", level, fenced, n)
			}
			if n := w.count(t, "SELECT count(*) FROM dtc_once WHERE state = 'committed' AND log = $1 AND seq = $2", xid.Log.String(), xid.Seq); n != want {
				t.Errorf("%s, fenced: %v: %d rows of evidence", level, fenced, n)
			}
		}
	}
	w.clean(t)
}
