package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestOneSnapshot: the row of the fence has changed since the branch has begun to read, or its
// id has been sealed under an earlier XID, and the seal is taken over.
func TestOneSnapshot(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	w.pool = openPool(t, connector(t, w.dsn+"?innodb_snapshot_isolation=1"))
	db := w.participant(t, "orders", nil)
	c := open(t, db)
	ctx := background(t)
	for _, id := range []dtc.TxID{"fence", "seal"} {
		var xid dtc.XID
		_ = c.Run(ctx, id, func(ctx context.Context, tx *dtc.Tx) error {
			xid = tx.XID()
			b := dtc.Branch{Participant: "orders", XID: xid, TxID: id, Attempt: 1}
			other := b
			other.XID.Seq, other.TxID = xid.Seq+1000, "other"
			if _, err := db.Settle(ctx, other); err != nil { // which fences off
				t.Error(err)
			}
			if err := db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				var n int
				if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM token").Scan(&n); err != nil {
					return err
				}
				switch other.XID.Seq, other.TxID = xid.Seq-1, id; id {
				case "fence":
					w.exec(t, "UPDATE dtc_fence SET low_seq = low_seq + 1")
				case "seal":
					if o := settled(t, w.db, other); o != dtc.RolledBack {
						t.Errorf("settled as %v", o)
					}
				}
				return insert(ctx, q, tx.XID())
			}); err != nil {
				t.Error(err)
			}
			if v, err := db.CommitOnePhase(ctx, b); v != dtc.VoteCommit || err != nil {
				t.Errorf("%s: answered %v, %v", id, v, err)
			}
			if x, err := db.Prove(ctx, xid.Log, id); x != xid || err != nil {
				t.Errorf("%s: proof of %v, %v", id, x, err)
			}
			return nil
		})
		w.committed(t, xid, true, string(id))
	}
}

// TestOneDeadlock: the victim of a deadlock is rolled back, whatever its client believes.
func TestOneDeadlock(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1, 10), (2, 20)")
	ctx := background(t)
	c := open(t, w.db)
	heavy, err := w.admin.Begin() // has changed more, so it is not the victim
	if err != nil {
		t.Fatal(err)
	}
	defer heavy.Rollback()
	for _, sql := range []string{"INSERT INTO token SELECT seq FROM seq_1_to_500", "UPDATE stock SET n = 0 WHERE id = 2"} {
		if _, err := heavy.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	var xid dtc.XID
	_ = c.Run(ctx, "victim", func(ctx context.Context, tx *dtc.Tx) error {
		xid = tx.XID()
		_ = w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
			if err := insert(ctx, q, xid); err != nil {
				return err
			}
			if _, err := q.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = 1"); err != nil {
				return err
			}
			both := make(chan error, 1)
			go func() {
				_, err := heavy.Exec("UPDATE stock SET n = 0 WHERE id = 1")
				both <- err
			}()
			_, err := q.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = 2")
			if numberOf(err) != 1213 {
				t.Errorf("no victim: %v", err)
			}
			if err := <-both; err != nil {
				t.Errorf("the other: %v", err)
			}
			return nil // swallowed
		})
		v, err := w.db.CommitOnePhase(ctx, dtc.Branch{Participant: "orders", XID: xid, TxID: "victim", Attempt: 1})
		if v != dtc.VoteAbort || !strings.Contains(err.Error(), "1213") {
			t.Errorf("answered %v, %v", v, err)
		}
		return errors.New("over")
	})
	w.committed(t, xid, false, "victim")
	if err := heavy.Rollback(); err != nil {
		t.Error(err)
	}
	w.clean(t)
}

// TestOneDo: the work of calls of Do is committed, or undone without a word to the tables.
func TestOneDo(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	never := errors.New("over")
	for id, want := range map[dtc.TxID]bool{"settled": false, "committed": true} {
		var b dtc.Branch
		_ = c.Run(background(t), id, func(ctx context.Context, tx *dtc.Tx) error {
			b = dtc.Branch{Participant: "orders", XID: tx.XID(), TxID: id, Attempt: 1}
			if err := w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, b.XID) }); err != nil {
				t.Error(err)
			}
			if !want {
				if o := settled(t, w.db, b); o != dtc.RolledBack {
					t.Errorf("settled as %v", o)
				}
				if n := w.count(t, "SELECT COUNT(*) FROM dtc_once WHERE tx_id = ?", string(id)); n != 0 {
					t.Errorf("%d rows of a branch that has never been sent", n)
				}
				if err := w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, b.XID) }); err != nil {
					t.Logf("after it was settled: %v", err)
				}
				_ = settled(t, w.db, b)
			}
			if v, err := w.db.CommitOnePhase(ctx, b); (v == dtc.VoteCommit) != want || errors.Is(err, dtc.ErrNoAnswer) {
				t.Errorf("%s: answered %v, %v", id, v, err)
			}
			if v, _ := w.db.CommitOnePhase(ctx, b); (v == dtc.VoteCommit) != want {
				t.Errorf("%s, again: answered %v", id, v)
			}
			return never
		})
		w.committed(t, b.XID, want, string(id))
	}
	w.clean(t)
}

// TestOneNot: what takes two phases, and what an id that was committed before does to it.
func TestOneNot(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	b := w.branch(1)
	adopted := later(b, 2)
	adopted.Payload = []byte(`{"adopted":true}`)
	two := w.participant(t, "orders", &mysql.Options{TwoPhases: true})
	if !w.db.CanOnePhase(b) || w.db.CanOnePhase(adopted) || two.CanOnePhase(b) {
		t.Error("what takes one phase, and what two")
	}
	if v, err := w.db.CommitOnePhase(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	if err := prepareAside(ctx, w.pool, w.db, adopted.XID, adopted.TxID, func(q *sql.Conn) error {
		_, err := q.ExecContext(ctx, "INSERT INTO token (xid) VALUES ('"+adopted.XID.String()+"')")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// A rollback must follow, so it is no refusal.
	if v, err := two.Prepare(ctx, adopted); v != dtc.VoteAbort || !errors.Is(err, dtc.ErrTxConflict) || errors.Is(err, dtc.Refuse(nil)) {
		t.Errorf("answered %v, %v", v, err)
	}
	if err := two.Rollback(ctx, adopted); err != nil {
		t.Error(err)
	}
	w.committed(t, adopted.XID, false, "adopted")
	w.clean(t)
}

// TestOneClosed: a branch is enlisted even if nothing can be done in it, so that its
// participant is asked about the id.
func TestOneClosed(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	closed := w.participant(t, "orders", nil)
	closed.Close()
	c := open(t, w.db)
	var info dtc.TxInfo
	err := c.Run(t.Context(), "closed", func(ctx context.Context, tx *dtc.Tx) error {
		err := closed.Do(ctx, tx, func(context.Context, *mysql.Tx) error { return nil })
		info, _ = c.Transaction("closed")
		return err
	})
	if !errors.Is(err, dtc.ErrRolledBack) || len(info.Branches) != 1 || info.Branches[0].Participant != "orders" {
		t.Errorf("error %v, branches %+v", err, info.Branches)
	}
}
