package mysql_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestHolds: what waits for a branch in doubt, before and after a start of the server.
func TestHolds(t *testing.T) {
	server := servers.MariaDB(t)
	w := newWorld(t, server)
	ctx := background(t)
	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1, 10), (2, 20)")
	b := w.branch(1)
	b.Payload = statements(mysql.Statement{SQL: "UPDATE stock SET n = n - 1 WHERE id = 1"})
	if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	for _, when := range []string{"connected", "after a restart"} {
		if when == "after a restart" {
			server.Kill(t)
			server.Start(t)
		}
		conn, err := openPool(t, w.finish).Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(ctx, "SET SESSION innodb_lock_wait_timeout = 0, SESSION lock_wait_timeout = 0"); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			sql   string
			waits bool
		}{
			{"SELECT * FROM stock", false},
			{"UPDATE stock SET n = n - 1 WHERE id = 2", false},
			{"UPDATE stock SET n = n - 1 WHERE id = 1", true},
			{"ALTER TABLE stock ADD COLUMN x int", true},
			{"TRUNCATE TABLE stock", true},
			{"DROP TABLE stock", true},
			{"FLUSH TABLES WITH READ LOCK", false},
			{"UNLOCK TABLES", false},
		} {
			_, err := conn.ExecContext(ctx, tt.sql)
			var e *mysqldriver.MySQLError
			if waited := errors.As(err, &e) && e.Number == 1205; waited != tt.waits || err != nil && !waited {
				t.Errorf("%s: %s: %v, want it to wait: %v", when, tt.sql, err, tt.waits)
			}
		}
		if err := discard(conn); err != nil {
			t.Fatal(err)
		}
	}
	// From elsewhere: the connection of the branch went with the server.
	if err := w.db.Commit(ctx, b); err != nil {
		t.Error(err)
	}
	if n := w.count(t, "SELECT n FROM stock WHERE id = 1"); n != 9 {
		t.Errorf("n is %d", n)
	}
}

// TestStillConnected: the session that holds a branch is connected, and nobody knows which
// it is. "Unknown XID" is then neither done nor undone, until the session has left. Each
// branch is finished in one way only: a statement that was given up may still be on its way.
func TestStillConnected(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	finished := new(dtc.FinishedError)
	for i, finish := range []struct {
		what    string
		call    func(context.Context, dtc.Branch) error
		applied int
	}{{"commit", w.db.Commit, 1}, {"rollback", w.db.Rollback, 0}} {
		b := w.branch(uint64(i) + 1)
		conn, err := openPool(t, w.finish).Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		name := mysql.Name(b.XID, "orders")
		proof, err := w.db.Proof(b.XID, b.TxID)
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{
			"XA START " + name, "INSERT INTO token VALUES ('" + b.XID.String() + "')", proof,
			"UPDATE dtc_branch SET connection_id = 0 WHERE name = '" + b.XID.String() + ".orders'", "XA END " + name, "XA PREPARE " + name,
		} {
			if _, err := conn.ExecContext(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
		soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if err := finish.call(soon, b); err == nil || errors.As(err, &finished) {
			t.Errorf("%s while it is connected: %v", finish.what, err)
		}
		cancel()
		if held, applied, err := w.effect(b.XID, "orders"); err != nil || !held || applied != 0 {
			t.Errorf("%s while it is connected: held: %v, applied: %d, error: %v", finish.what, held, applied, err)
		}
		if err := discard(conn); err != nil {
			t.Fatal(err)
		}
		if err := finish.call(ctx, b); err != nil {
			t.Error(err)
		}
		if held, applied, err := w.effect(b.XID, "orders"); err != nil || held || applied != finish.applied {
			t.Errorf("after %s held: %v, applied: %d, error: %v", finish.what, held, applied, err)
		}
	}
}

// TestExhausted: what finishes has connections of its own.
func TestExhausted(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	other, err := mysql.Open(ctx, "orders", openPool(t, w.finish), w.finish, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	one, two := w.branch(1), w.branch(2)
	for _, b := range []dtc.Branch{one, two} {
		if v, err := other.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
	}
	w.pool.SetMaxOpenConns(1)
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if list, err := w.db.InDoubt(ctx, w.log); err != nil || len(list) != 2 {
		t.Errorf("listed: %v, error: %v", list, err)
	}
	if err := w.db.Commit(ctx, one); err != nil {
		t.Error(err)
	}
	if err := w.db.Rollback(ctx, two); err != nil {
		t.Error(err)
	}
}

// TestLongestName: the longest name there can be is taken, and a longer one refused here.
func TestLongestName(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	id := strings.Repeat("o", 64)
	db := w.participant(t, id, nil)
	b := w.branch(1)
	b.Participant = id
	b.XID.Incarnation = dtc.Incarnation{Number: 1<<32 - 1, Nonce: 1<<32 - 1}
	b.XID.Seq = 1<<64 - 1
	b.Payload = insertToken(b.XID)
	if v, err := db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	if list, err := db.InDoubt(ctx, w.log); err != nil || len(list) != 1 || list[0].XID != b.XID {
		t.Errorf("listed: %v, error: %v", list, err)
	}
	if err := db.Commit(ctx, b); err != nil {
		t.Error(err)
	}
	b.Participant += "o"
	b.XID.Seq--
	if err := db.Rollback(ctx, b); err == nil || !strings.Contains(err.Error(), "64 bytes") {
		t.Errorf("a name that the server does not take: %v", err)
	}
}

// TestPruneBesideWork: the rows of branches that are over are dropped, few or many, beside
// one that is in doubt, whose lock nobody waits for.
func TestPruneBesideWork(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	db := w.participant(t, "orders", &mysql.Options{PruneEvery: -1})
	doubt := w.branch(1000)
	if v, err := db.Prepare(ctx, doubt); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	seq := uint64(0)
	for _, n := range []int{1, 3, 40} {
		for range n {
			seq++
			b := w.branch(seq)
			b.LowWater = b.XID
			b.LowWater.Seq++
			if err := db.Rollback(ctx, b); err != nil {
				t.Fatal(err)
			}
		}
		if dropped, err := db.Prune(ctx); dropped != n || err != nil {
			t.Errorf("dropped %d of %d: %v", dropped, n, err)
		}
	}
	if err := db.Commit(ctx, doubt); err != nil {
		t.Error(err)
	}
	w.clean(t)
}
