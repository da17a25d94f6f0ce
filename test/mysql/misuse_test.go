package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestUse: the function, or a payload, moves to another schema, which has such tables too, and
// then the process dies.
func TestUse(t *testing.T) {
	w := newTwoPhases(t, servers.SharedMariaDB(t))
	ctx := background(t)
	create, err := mysql.Schema("")
	if err != nil {
		t.Fatal(err)
	}
	tenant := w.name + "_te`nant %s"
	w.exec(t, "CREATE DATABASE `"+strings.ReplaceAll(tenant, "`", "``")+"`")
	for _, table := range strings.SplitAfter(create, ";\n") {
		if table != "" {
			w.exec(t, strings.Replace(table, "IF NOT EXISTS ", "IF NOT EXISTS `"+strings.ReplaceAll(tenant, "`", "``")+"`.", 1))
		}
	}
	b := w.branch(1)
	b.Payload = statements(mysql.Statement{SQL: "INSERT INTO token (xid) VALUES (?)", Args: args(b.XID.String())},
		mysql.Statement{SQL: "USE `" + strings.ReplaceAll(tenant, "`", "``") + "`"})
	dead := w.participant(t, "orders", &mysql.Options{TwoPhases: true})
	if v, err := dead.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	dead.Close()
	if err := w.db.Commit(ctx, b); err != nil {
		t.Errorf("the branch that was voted for: %v", err)
		_ = w.db.Rollback(ctx, b)
	}
	if _, n, err := w.effect(b.XID, "orders"); n != 1 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	// And the seal is where the branch meets it.
	late := w.branch(2)
	if err := w.db.Rollback(ctx, late); err != nil {
		t.Fatal(err)
	}
	late.Payload = statements(mysql.Statement{SQL: "INSERT INTO token (xid) VALUES ('late')"}, mysql.Statement{SQL: "USE `" + strings.ReplaceAll(tenant, "`", "``") + "`"})
	if v, err := w.db.Prepare(ctx, late); v != dtc.VoteAbort {
		t.Errorf("after it was rolled back: %v, %v", v, err)
	}
	w.clean(t)
}

// TestDoWithinDo: a call within another one of the same branch could only wait for itself.
// What it would have done is missing, so nothing is committed. So it is with one that gives up.
func TestDoWithinDo(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	for name, inner := range map[string]func(outer, ctx context.Context) (context.Context, context.CancelFunc){
		"within": func(_, ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
		"gives-up": func(outer, _ context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(outer, time.Now())
		},
	} {
		err := c.Run(t.Context(), dtc.TxID(name), func(outer context.Context, tx *dtc.Tx) error {
			return w.db.Do(outer, tx, func(ctx context.Context, q *mysql.Tx) error {
				if err := insert(ctx, q, tx.XID()); err != nil {
					return err
				}
				ctx, cancel := inner(outer, ctx)
				defer cancel()
				if err := w.db.Do(ctx, tx, func(context.Context, *mysql.Tx) error { return nil }); err == nil {
					t.Error("it was called")
				}
				return nil
			})
		})
		if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "was not called") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.count(t, "SELECT COUNT(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
	w.clean(t)
}

// TestLocksUnseen: what locks is no mere reading, whatever its name is written in.
func TestLocksUnseen(t *testing.T) {
	w := newTwoPhases(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1)")
	w.exec(t, "CREATE FUNCTION réservé() RETURNS int READS SQL DATA BEGIN DECLARE n int; SELECT id INTO n FROM stock WHERE id = 1 FOR UPDATE; RETURN n; END")
	if err := run(t, c, w.db, "locks", func(ctx context.Context, q *mysql.Tx) error {
		var n int
		return q.QueryRowContext(ctx, "SELECT réservé()").Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	if n := w.count(t, "SELECT COUNT(*) FROM dtc_branch WHERE state = 'committed'"); n != 1 {
		t.Errorf("%d rows that prove: its lock was given up before the end", n)
	}
	w.clean(t)
}

// TestUnchecked: in a session that checks neither unique nor foreign keys, an error of an INSERT
// undoes what its transaction has written to tables that were empty. Where that is met by the
// row of a branch, the branch is not committed without its work.
func TestUnchecked(t *testing.T) {
	w := newDatabase(t, servers.SharedMariaDB(t))
	w.pool = openPool(t, connector(t, w.dsn+"?unique_checks=0&foreign_key_checks=0"))
	w.db = w.participant(t, "orders", nil)
	ctx := background(t)
	first := w.branch(1) // the first of its session
	if v, err := w.db.Prepare(ctx, first); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	if err := w.db.Commit(ctx, first); err != nil {
		t.Fatal(err)
	}
	if _, n, err := w.effect(first.XID, "orders"); n != 1 || err != nil {
		t.Errorf("committed in two phases, and %d rows, %v", n, err)
	}
	w.exec(t, "TRUNCATE token")
	sealed, again := w.branch(2), w.branch(3)
	again.TxID = sealed.TxID
	if o, err := w.db.Settle(ctx, sealed); o != dtc.RolledBack || err != nil {
		t.Fatal(o, err)
	}
	v, err := w.db.CommitOnePhase(ctx, again)
	if v != dtc.VoteAbort || err == nil || !strings.Contains(err.Error(), "set unique_checks") {
		t.Errorf("after the same id was rolled back: %v, %v", v, err)
	}
	if n := w.count(t, "SELECT COUNT(*) FROM token"); n != 0 {
		t.Errorf("%d rows", n)
	}
	w.clean(t)
}

// TestSettings: settings of the application's sessions and of those that finish.
func TestSettings(t *testing.T) {
	server := servers.SharedMariaDB(t)
	for _, settings := range []string{
		"sql_mode=ANSI_QUOTES", "sql_mode=ANSI", "sql_mode=NO_BACKSLASH_ESCAPES", "sql_mode=EMPTY_STRING_IS_NULL", "sql_mode=", "sql_mode=PAD_CHAR_TO_FULL_LENGTH",
		"sql_mode=SIMULTANEOUS_ASSIGNMENT", "sql_mode=HIGH_NOT_PRECEDENCE",
		"autocommit=0", "tx_isolation=SERIALIZABLE", "tx_isolation=READ-UNCOMMITTED", "time_zone=+13:00", "sql_safe_updates=1", "completion_type=CHAIN", "completion_type=RELEASE",
		"max_statement_time=5", "unique_checks=0&foreign_key_checks=0", "old_mode=", "big_tables=1", "low_priority_updates=1",
	} {
		t.Run(settings, func(t *testing.T) {
			w := newDatabase(t, server)
			for _, set := range strings.Split(settings, "&") {
				name, value, _ := strings.Cut(set, "=")
				if strings.ContainsAny(value, "+-_ABCDEFGHIJKLMNOPQRSTUVWXYZ") || value == "" {
					value = "'" + value + "'"
				}
				separator := "?"
				if strings.Contains(w.dsn, "?") {
					separator = "&"
				}
				w.dsn += separator + name + "=" + url.QueryEscape(value)
			}
			w.finish = connector(t, w.dsn)
			w.pool = openPool(t, w.finish)
			w.db = w.participant(t, "orders", &mysql.Options{PruneEvery: 1})
			two := w.participant(t, "two", &mysql.Options{TwoPhases: true, PruneEvery: 1})
			c := open(t, w.db, two)
			for round := range 2 {
				for name, db := range map[string]*mysql.Database{"one": w.db, "two": two} {
					for _, fail := range []bool{false, true} {
						var xid dtc.XID
						id := dtc.TxID(fmt.Sprintf("%s-%v-%d", name, fail, round))
						err := c.Run(t.Context(), id, func(ctx context.Context, tx *dtc.Tx) error {
							xid = tx.XID()
							err := db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, xid) })
							if fail {
								err = errors.Join(err, errors.New("on purpose"))
							}
							return err
						})
						if (err != nil) != fail {
							t.Errorf("%s: %v", id, err)
						}
						eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
						if _, n, err := w.effect(xid, name); err != nil || (n == 1) == fail {
							t.Errorf("%s: %d rows, %v", id, n, err)
						}
					}
				}
			}
			b := w.branch(1)
			if v, err := w.db.CommitOnePhase(background(t), b); v != dtc.VoteCommit || err != nil {
				t.Errorf("%v, %v", v, err)
			}
			if x, err := w.db.Prove(background(t), b.XID.Log, b.TxID); x != b.XID || err != nil {
				t.Errorf("proved %v, %v", x, err)
			}
			if o, err := w.db.Settle(background(t), b); o != dtc.Committed || err != nil {
				t.Errorf("settled %v, %v", o, err)
			}
			b = w.branch(2)
			dead := w.participant(t, "orders", nil)
			if v, err := dead.Prepare(background(t), b); v != dtc.VoteCommit || err != nil {
				t.Errorf("%v, %v", v, err)
			}
			dead.Close()
			if err := w.db.Commit(background(t), b); err != nil {
				t.Error(err)
			}
			w.clean(t)
		})
	}
}
