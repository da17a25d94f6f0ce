package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestStatements: what a payload may say, and what is said of what it may not.
func TestStatements(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	w.exec(t, "CREATE TABLE account (id varchar(20) PRIMARY KEY, balance decimal(20,2), big bigint, note text, yes bool) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO account (id, balance) VALUES ('alice', 100), ('bob', 0)")
	rows := func(n int64) *int64 { return &n }
	take := "UPDATE account SET balance = balance - ? WHERE id = ? AND balance >= ?"
	for i, tt := range []struct {
		payload []byte
		vote    dtc.Vote
		text    string
	}{
		{payload: statements(
			mysql.Statement{SQL: "SELECT * FROM account WHERE id = ? FOR UPDATE", Args: args("alice"), Rows: rows(1)},
			mysql.Statement{SQL: take, Args: args(30.5, "alice", 30.5), Rows: rows(1)},
			mysql.Statement{
				SQL: "INSERT INTO account VALUES (?, ?, ?, ?, ?)", Rows: rows(1),
				Args: args("carol", "0.10", int64(9007199254740993), map[string]int{"a": 1}, true),
			},
			mysql.Statement{SQL: "UPDATE account SET note = ? WHERE id = 'carol'", Args: args(nil), Rows: rows(1)},
		), vote: dtc.VoteCommit},
		{payload: statements(mysql.Statement{SQL: "SELECT * FROM account WHERE id = ?", Args: args("alice"), Rows: rows(1)}), vote: dtc.VoteReadOnly},
		{payload: statements(mysql.Statement{SQL: "SELECT * FROM account WHERE id = ?", Args: args("nobody"), Rows: rows(1)}), text: "statement 1 affected 0 rows; it must affect 1"},
		{payload: statements(
			mysql.Statement{SQL: take, Args: args(1, "alice", 1), Rows: rows(1)},
			mysql.Statement{SQL: take, Args: args(1000, "alice", 1000), Rows: rows(1)},
		), text: "statement 2 affected 0 rows; it must affect 1"},
		{payload: statements(mysql.Statement{SQL: "INSERT INTO account (id) VALUES (?)", Args: args("alice")}), text: "statement 1: the server answered 1062"},
		{payload: statements(mysql.Statement{SQL: "SELEC secret FROM account"}), text: "statement 1: the server answered 1064"},
		{payload: statements(mysql.Statement{SQL: take, Args: args(1)}), text: "statement 1"},
		{payload: statements(mysql.Statement{SQL: "COMMIT"}), text: "1399"},
		{payload: statements(mysql.Statement{SQL: " xa end X'00'"}), text: "statement 1 ends the transaction"},
		{payload: statements(mysql.Statement{SQL: "UPDATE account SET note = 1; DELETE FROM account"}), text: "1064"},
		{payload: []byte(`{"statements":[]}`), text: "no statements"},
		{payload: []byte(`{"statements":[{"sql":"SELECT 1"}],"adopted":true}`), text: "adopted"},
		{payload: []byte(`{"sql":"SELECT 1"}`), text: "the payload must be"},
	} {
		b := w.branch(uint64(i + 1))
		b.Payload = tt.payload
		v, err := w.db.Prepare(ctx, b)
		if v != tt.vote || (err == nil) != (tt.text == "") {
			t.Errorf("%s: %v, %v", tt.payload, v, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.text) || errors.Is(err, dtc.ErrNoAnswer) || strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: error %v, want one that says %q, and no data", tt.payload, err, tt.text)
		}
		if v == dtc.VoteCommit {
			if err := w.db.Commit(ctx, b); err != nil {
				t.Error(err)
			}
		}
	}
	var got string
	if err := w.admin.QueryRow(`SELECT CONCAT_WS('|', a.balance, c.balance, c.big, c.note IS NULL, c.yes)
		FROM account a, account c WHERE a.id = 'alice' AND c.id = 'carol'`).Scan(&got); err != nil || got != "69.50|0.10|9007199254740993|1|1" {
		t.Errorf("the accounts: %s, %v", got, err)
	}
	w.clean(t)
}

// TestTransient: statements that failed because of others are executed again.
func TestTransient(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1, 10)")
	tx, err := w.admin.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("UPDATE stock SET n = 0"); err != nil {
		t.Fatal(err)
	}
	b := w.branch(1)
	b.Payload = statements(
		mysql.Statement{SQL: "INSERT INTO token VALUES ('once')"},
		mysql.Statement{SQL: "SET SESSION innodb_lock_wait_timeout = 1"},
		mysql.Statement{SQL: "UPDATE stock SET n = n - 1"},
	)
	if v, err := w.db.Prepare(ctx, b); v != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) || !strings.Contains(err.Error(), "statement 3: the server answered 1205") {
		t.Errorf("while the row is locked: %v, %v", v, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	b.Attempt = 2
	if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Errorf("afterwards: %v, %v", v, err)
	}
	if err := w.db.Commit(ctx, b); err != nil {
		t.Error(err)
	}
	if n := w.count(t, "SELECT COUNT(*) FROM token"); n != 1 {
		t.Errorf("the first statement was done %d times", n)
	}
}

// TestOvertaken: a branch is rolled back while its function still works, by somebody who
// does not see it. What it writes then meets the row; or low water, if the row has been
// dropped, though the branch sees the state of its beginning, when all of this was not.
func TestOvertaken(t *testing.T) {
	w := newTwoPhases(t, servers.SharedMariaDB(t))
	other := w.participant(t, "orders", nil) // rolls back and prunes beside it
	c := open(t, w.db)
	for _, dropped := range []bool{false, true} { // low water does not go back
		text := map[bool]string{false: "already rolled back", true: "below low water"}[dropped]
		err := c.Run(t.Context(), dtc.TxID(fmt.Sprint("overtaken-", dropped)), func(ctx context.Context, tx *dtc.Tx) error {
			return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				var n int // the snapshot is taken
				if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM token").Scan(&n); err != nil {
					return err
				}
				b := dtc.Branch{Participant: "orders", XID: tx.XID(), Attempt: 1}
				if dropped {
					b.LowWater = tx.XID()
					b.LowWater.Seq++
				}
				if err := other.Rollback(ctx, b); err != nil {
					return err
				}
				if n, err := other.Prune(ctx); err != nil || (n > 0) != dropped {
					return errors.Join(fmt.Errorf("pruned %d", n), err)
				}
				return insert(ctx, q, tx.XID())
			})
		})
		if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one that says %q", err, text)
		}
		eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
		if n := w.count(t, "SELECT COUNT(*) FROM token"); n != 0 {
			t.Errorf("%d rows", n)
		}
		w.clean(t)
	}
}

// TestIsolation: the level of the options is that of the branches.
func TestIsolation(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	for level, sees := range map[sql.IsolationLevel]int{sql.LevelReadCommitted: 1, sql.LevelRepeatableRead: 0} {
		id := strings.ReplaceAll(level.String(), " ", "-")
		db := w.participant(t, id, &mysql.Options{Isolation: level})
		c := open(t, db)
		err := c.Run(t.Context(), "isolation", func(ctx context.Context, tx *dtc.Tx) error {
			return db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
				for i := range 2 {
					var n int
					if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM token WHERE xid = ?", id).Scan(&n); err != nil {
						return err
					}
					if n != i*sees {
						t.Errorf("%v: read %d sees %d rows", level, i+1, n)
					}
					w.exec(t, "INSERT INTO token VALUES (?)", id)
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := mysql.Open(t.Context(), "orders", w.pool, w.finish, &mysql.Options{Isolation: sql.LevelLinearizable}); err == nil {
		t.Error("a level that the server does not have is accepted")
	}
}

// TestStatementsCount: the server is asked for what it has counted if all only read, and not if
// it is known that some write; an error among the rows poisons the branch either way.
func TestStatementsCount(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	w.exec(t, "INSERT INTO token VALUES ('there')")
	ctx := background(t)
	reads := mysql.Statement{SQL: "SELECT xid FROM token"}
	writes := mysql.Statement{SQL: "INSERT INTO token VALUES (?)"}
	fails := mysql.Statement{SQL: "SELECT IF(seq < 500, seq, (SELECT 1 UNION SELECT seq)) FROM seq_1_to_1000"}
	asked := func() int {
		return w.count(t, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'COM_SHOW_STATUS'")
	}
	for i, tt := range []struct {
		name string
		list []mysql.Statement
		want dtc.Vote
		asks int
	}{
		{"reads", []mysql.Statement{reads, reads}, dtc.VoteReadOnly, 2},
		{"reads, then writes", []mysql.Statement{reads, writes}, dtc.VoteCommit, 0},
		{"writes, then reads", []mysql.Statement{writes, reads}, dtc.VoteCommit, 0},
		{"writes, then fails", []mysql.Statement{writes, fails}, dtc.VoteAbort, 0},
		{"fails, then writes", []mysql.Statement{fails, writes}, dtc.VoteAbort, 0},
		{"fails", []mysql.Statement{reads, fails}, dtc.VoteAbort, 1},
	} {
		for phases, call := range map[uint64]func(context.Context, dtc.Branch) (dtc.Vote, error){1: w.db.CommitOnePhase, 2: w.db.Prepare} {
			b := w.branch(uint64(2*i) + phases)
			list := append([]mysql.Statement(nil), tt.list...)
			for i := range list {
				if list[i].SQL == writes.SQL {
					list[i].Args = args(b.XID.String())
				}
			}
			b.Payload = statements(list...)
			before := asked()
			v, err := call(ctx, b)
			if v != tt.want || (err != nil) != (v == dtc.VoteAbort) {
				t.Errorf("%s, %d: voted %v, %v, want %v", tt.name, phases, v, err, tt.want)
			}
			if n := asked() - before; n != tt.asks {
				t.Errorf("%s, %d: asked %d times what the server has counted, want %d", tt.name, phases, n, tt.asks)
			}
			if v == dtc.VoteCommit && phases == 2 {
				if err := w.db.Commit(ctx, b); err != nil {
					t.Error(err)
				}
			}
			w.committed(t, b.XID, v == dtc.VoteCommit, tt.name)
		}
	}
	w.clean(t)
}
