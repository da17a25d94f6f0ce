package mysql_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// say executes statements on one connection: each is followed by the number of the error
// that it is to have, 0 for none.
func say(t *testing.T, conn *sql.Conn, list ...any) {
	t.Helper()
	for i := 0; i < len(list); i += 2 {
		_, err := conn.ExecContext(context.Background(), list[i].(string))
		if got := numberOf(err); got != list[i+1].(int) || got == 0 && err != nil {
			t.Errorf("%.80s: %v, want %d: MariaDB has changed, and so must what rests on it", list[i], err, list[i+1])
		}
	}
}

func (w *world) conn(t *testing.T) *sql.Conn {
	t.Helper()
	conn, err := w.admin.Conn(background(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = discard(conn) })
	return conn
}

// left closes a connection and waits until its session has left the server.
func (w *world) left(t *testing.T, conn *sql.Conn) {
	t.Helper()
	var id int
	if err := conn.QueryRowContext(background(t), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err := discard(conn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session leaves", func() bool {
		return w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id) == 0
	})
}

// TestFacts: what the adapter rests on, said by the server itself.
func TestFacts(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	w.exec(t, "CREATE TABLE aside (n int) ENGINE=MyISAM")
	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1, 0), (2, 0)")

	t.Run("states", func(t *testing.T) {
		one, other := w.conn(t), w.conn(t)
		say(t, one, "XA START 'f1'", 0, "XA PREPARE 'f1'", 1399, "XA COMMIT 'f1'", 1399, "BEGIN", 1399, "COMMIT", 1399,
			"INSERT INTO token VALUES ('f1')", 0, "XA END 'f1'", 0, "INSERT INTO token VALUES ('f1')", 1399, "XA PREPARE 'f1'", 0)
		say(t, other, "XA START 'f1'", 1440, "XA COMMIT 'f1'", 1397, "XA ROLLBACK 'f1'", 1397, "XA COMMIT 'f1','',7", 1397)
		say(t, one, "BEGIN", 1399, "INSERT INTO token VALUES ('f1')", 1399, "XA START 'f2'", 1399, "XA COMMIT 'f2'", 1400,
			"XA COMMIT 'f1' ONE PHASE", 1398, "XA COMMIT 'f1'", 0, "XA COMMIT 'f1'", 1397)
		say(t, one, "BEGIN", 0, "INSERT INTO token VALUES ('f1')", 0, "XA START 'f3'", 1400, "XA COMMIT 'f3'", 1400, "ROLLBACK", 0)
	})
	t.Run("names", func(t *testing.T) {
		conn := w.conn(t)
		say(t, conn, "XA START '"+strings.Repeat("g", 65)+"'", 1064, "XA START 'g','"+strings.Repeat("b", 65)+"'", 1064,
			"XA START '"+strings.Repeat("g", 64)+"','"+strings.Repeat("b", 64)+"'", 0)
	})
	t.Run("a block says what its last statement says", func(t *testing.T) {
		conn := w.conn(t)
		block := func(list ...string) string { return "BEGIN NOT ATOMIC " + strings.Join(list, "; ") + "; END" }
		say(t, conn, "XA START 'f4'", 0, "INSERT INTO stock VALUES (4, 0)", 0,
			block("INSERT INTO stock VALUES (1, 0)", "XA END 'f4'", "XA PREPARE 'f4'"), 1062,
			block("INSERT INTO stock VALUES (5, 0)", "XA END 'other'", "XA PREPARE 'f4'"), 1397,
			block("INSERT INTO stock VALUES (6, 0)", "XA END 'f4'", "XA PREPARE 'other'"), 1397,
			"XA ROLLBACK 'f4'", 0)
		if n := w.count(t, "SELECT COUNT(*) FROM stock WHERE id > 2"); n != 0 {
			t.Errorf("%d rows", n)
		}
		// The column is what tells that a session has not computed the start.
		proof := "INSERT INTO dtc_branch VALUES ('x', 'x', 'x', 1, 1, '', 'committed', 1, @never_set)"
		say(t, conn, proof, 1048, "SET SESSION sql_mode = ''", 0, proof, 1048)
	})
	t.Run("the victim of a deadlock", func(t *testing.T) {
		conns := [2]*sql.Conn{w.conn(t), w.conn(t)}
		names := [2]string{"'f5'", "'f6'"}
		for i, conn := range conns {
			say(t, conn, "XA START "+names[i], 0, "UPDATE stock SET n = n + 1 WHERE id = "+[]string{"1", "2"}[i], 0)
		}
		var both sync.WaitGroup
		var errs [2]error
		for i, conn := range conns {
			both.Go(func() {
				_, errs[i] = conn.ExecContext(context.Background(), "UPDATE stock SET n = n + 1 WHERE id = "+[]string{"2", "1"}[i])
			})
		}
		both.Wait()
		victim := 0
		if errs[0] == nil {
			victim = 1
		}
		if numberOf(errs[victim]) != 1213 || errs[1-victim] != nil {
			t.Fatalf("errors %v", errs)
		}
		say(t, conns[victim], "XA END "+names[victim], 1399, "XA PREPARE "+names[victim], 1399, "XA ROLLBACK "+names[victim], 0)
		say(t, conns[1-victim], "XA END "+names[1-victim], 0, "XA ROLLBACK "+names[1-victim], 0)
	})
	t.Run("who has only read is rolled back", func(t *testing.T) {
		conn := w.conn(t)
		say(t, conn, "XA START 'f7'", 0, "DO (SELECT COUNT(*) FROM stock)", 0, "XA END 'f7'", 0, "XA PREPARE 'f7'", 0)
		if all, err := w.prepared(); err != nil || len(all) != 1 {
			t.Errorf("listed: %q, %v", all, err)
		}
		w.left(t, conn)
		say(t, w.conn(t), "XA COMMIT 'f7'", 1402)
	})
	t.Run("rows of another engine survive", func(t *testing.T) {
		say(t, w.conn(t), "XA START 'f8'", 0, "INSERT INTO aside VALUES (1)", 0, "INSERT INTO stock VALUES (8, 0)", 0, "XA END 'f8'", 0, "XA ROLLBACK 'f8'", 0)
		if n := w.count(t, "SELECT (SELECT COUNT(*) FROM aside) * 10 + (SELECT COUNT(*) FROM stock WHERE id = 8)"); n != 10 {
			t.Errorf("rows: %d", n)
		}
	})
	t.Run("everybody may finish", func(t *testing.T) {
		w.exec(t, "CREATE OR REPLACE USER stranger IDENTIFIED BY 'secret'")
		conn := w.conn(t)
		say(t, conn, "XA START 'f9'", 0, "INSERT INTO stock VALUES (9, 0)", 0, "XA END 'f9'", 0, "XA PREPARE 'f9'", 0)
		w.left(t, conn)
		stranger, err := openPool(t, connector(t, strings.Replace(w.server.DSN(""), "root@", "stranger:secret@", 1))).Conn(background(t))
		if err != nil {
			t.Fatal(err)
		}
		say(t, stranger, "XA RECOVER", 0, "XA COMMIT 'f9'", 0)
		if n := w.count(t, "SELECT COUNT(*) FROM stock WHERE id = 9"); n != 1 {
			t.Errorf("rows: %d", n)
		}
	})
	w.clean(t)
}

// TestIsolationOnce: the isolation of one branch is not that of the next on its connection.
func TestIsolationOnce(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	hidden, err := w.admin.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer hidden.Rollback()
	if _, err := hidden.Exec("INSERT INTO token VALUES ('hidden')"); err != nil {
		t.Fatal(err)
	}
	w.pool.SetMaxOpenConns(1)
	dirty := w.participant(t, "dirty", &mysql.Options{Isolation: sql.LevelReadUncommitted})
	c := open(t, w.db, dirty)
	reads := func(db *mysql.Database, id string, want int) {
		t.Helper()
		if err := run(t, c, db, id, func(ctx context.Context, q *mysql.Tx) error {
			var n int
			if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM token WHERE xid = 'hidden'").Scan(&n); err != nil {
				return err
			}
			if n != want {
				t.Errorf("%s: %d rows, want %d", id, n, want)
			}
			_, err := q.ExecContext(ctx, "INSERT INTO token VALUES ('"+id+"')")
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	reads(dirty, "dirty", 1)
	reads(w.db, "clean", 0)
}
