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

// TestAdopted: somebody else does the work and prepares it under the name, with its row.
func TestAdopted(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	for _, how := range []string{"prepared, and closed", "prepared, and still connected", "without its row", "not there"} {
		t.Run(how, func(t *testing.T) {
			ctx := background(t)
			conn, err := openPool(t, w.finish).Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var xid dtc.XID
			id := dtc.TxID(strings.NewReplacer(" ", "-", ",", "").Replace(how))
			err = c.Run(ctx, id, func(ctx context.Context, tx *dtc.Tx) error {
				xid = tx.XID()
				if err := tx.Enlist("orders", []byte(`{"adopted":true}`)); err != nil || how == "not there" {
					return err
				}
				name := mysql.Name(xid, "orders")
				proof, err := w.db.Proof(xid, id)
				if err != nil {
					return err
				}
				if how == "without its row" {
					proof = "DO 0"
				}
				for _, sql := range []string{
					"XA START " + name, "INSERT INTO token VALUES ('" + xid.String() + "')", proof, "XA END " + name, "XA PREPARE " + name,
				} {
					if _, err := conn.ExecContext(ctx, sql); err != nil {
						return err
					}
				}
				if how != "prepared, and still connected" {
					return discard(conn)
				}
				return nil
			})
			prepared := strings.HasPrefix(how, "prepared")
			if prepared != (err == nil) {
				t.Errorf("prepared: %v, error: %v", prepared, err)
			}
			eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
			if _, applied, err := w.effect(xid, "orders"); err != nil || (applied == 1) != prepared {
				t.Errorf("prepared: %v, applied: %d, error: %v", prepared, applied, err)
			}
			w.clean(t)
		})
	}
}

// TestRowless: a branch that was prepared under a name of ours, without a row, after it
// was rolled back: the sweep finds it, and its rollback ends it.
func TestRowless(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	b := w.branch(1)
	if err := w.db.Rollback(ctx, b); err != nil {
		t.Fatal(err)
	}
	w.prepare(t, mysql.Name(b.XID, "orders"))
	if list, err := w.db.InDoubt(ctx, b.XID.Log); err != nil || len(list) != 1 || list[0].XID != b.XID {
		t.Errorf("listed: %v, error: %v", list, err)
	}
	if err := w.db.Rollback(ctx, b); err != nil {
		t.Error(err)
	}
	w.clean(t)
}

// prepare prepares a branch of that name, and closes the connection.
func (w *world) prepare(t *testing.T, name string) {
	t.Helper()
	ctx := background(t)
	conn, err := w.admin.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var id int
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"XA START " + name, "INSERT INTO token VALUES ('x')", "XA END " + name, "XA PREPARE " + name} {
		if _, err := conn.ExecContext(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := discard(conn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session leaves", func() bool {
		return w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id) == 0
	})
}

// TestListing: of all that is prepared in the server only the participant's own of that
// log are listed, and nothing else is touched.
func TestListing(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	own, other := w.branch(1), w.branch(2)
	other.XID.Log = dtc.LogID{9}
	foreign := []string{
		mysql.Name(own.XID, "payment"),               // another participant's
		mysql.Name(w.branch(3).XID, "orders") + ",7", // another format
		"X'646F67',X'6F7264657273'",                  // no name of ours
		"X'6474632E00FF'," + "X'6F7264657273'",       // nor this
		"'dtc.aaaaaaaaaaaaaaaa.1-1.1','orders'",      // nor this
		"X'" + strings.Repeat("61", 64) + "',X''",    // as long as can be
	}
	for _, name := range foreign {
		w.prepare(t, name)
	}
	for _, b := range []dtc.Branch{own, other} {
		if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
	}
	if list, err := w.db.InDoubt(ctx, own.XID.Log); err != nil || len(list) != 1 || list[0].XID != own.XID {
		t.Errorf("listed: %v, error: %v", list, err)
	}
	for _, b := range []dtc.Branch{own, other} {
		if err := w.db.Rollback(ctx, b); err != nil {
			t.Error(err)
		}
	}
	if all, err := w.prepared(); err != nil || len(all) != len(foreign) {
		t.Errorf("left: %q, error: %v", all, err)
	}
	for _, name := range foreign {
		w.exec(t, "XA ROLLBACK "+name)
	}
}

// TestHidden: a branch is in the tables and not in the list, as after an OK that was none.
// Here an open transaction of no session that is known plays its part. Nothing is
// concluded until it is gone.
func TestHidden(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	for i, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		b := w.branch(uint64(i + 1))
		tx, err := w.admin.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		proof, err := w.db.Proof(b.XID, b.TxID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(proof); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("UPDATE dtc_branch SET connection_id = 0 WHERE name = ?", b.XID.String()+".orders"); err != nil {
			t.Fatal(err)
		}
		finished := new(dtc.FinishedError)
		for name, call := range map[string]func(context.Context, dtc.Branch) error{"commit": w.db.Commit, "rollback": w.db.Rollback} {
			if err := call(ctx, b); err == nil || errors.As(err, &finished) || !strings.Contains(err.Error(), "restart the server") {
				t.Errorf("%s of a hidden branch: %v", name, err)
			}
		}
		if v, err := w.db.Prepare(ctx, b); v == dtc.VoteCommit || !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("prepare of a hidden branch: %v, %v", v, err)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
		if err := w.db.Commit(ctx, b); (i == 0) != (err == nil) || i == 1 && !errors.As(err, &finished) {
			t.Errorf("commit after it has ended (%d): %v", i, err)
		}
	}
}
