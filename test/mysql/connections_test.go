package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// TestDeadlock: of two branches that wait for one another one is chosen, and whatever its
// function does it is rolled back whole.
func TestDeadlock(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	w.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	w.exec(t, "INSERT INTO stock VALUES (1, 0), (2, 0)")
	var both, wg sync.WaitGroup
	both.Add(2)
	var errs [2]error
	for i := range errs {
		wg.Go(func() {
			errs[i] = c.Run(t.Context(), dtc.TxID(fmt.Sprintf("deadlock-%d", i)), func(ctx context.Context, tx *dtc.Tx) error {
				return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
					_, err := q.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = ?", i+1)
					both.Done()
					both.Wait()
					if err != nil {
						return err
					}
					_, _ = q.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = ?", 2-i)
					_, _ = q.ExecContext(ctx, "INSERT INTO token VALUES ('after')") // not outside of the branch
					return nil
				})
			})
		})
	}
	wg.Wait()
	lost := 0
	for _, err := range errs {
		if errors.Is(err, dtc.ErrRolledBack) && strings.Contains(err.Error(), "1213") {
			lost++
		} else if err != nil {
			t.Errorf("error %v", err)
		}
	}
	if lost != 1 {
		t.Errorf("%d of two lost: %v", lost, errs)
	}
	eventually(t, "both end", func() bool { return c.Stats().Unfinished == 0 })
	if n := w.count(t, "SELECT SUM(n) FROM stock"); n != 2 {
		t.Errorf("the sum is %d, want that of one branch", n)
	}
	if n := w.count(t, "SELECT COUNT(*) FROM token"); n != 1 {
		t.Errorf("%d rows after the deadlock, want that of the one that won", n)
	}
	w.clean(t)
}

// TestConnections: a connection is used again when the server has said on it that its branch
// has ended, and never after anything has failed.
func TestConnections(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	w.pool.SetMaxOpenConns(1)
	fresh := w.participant(t, "fresh", &mysql.Options{FreshSessions: true})
	c := open(t, w.db, fresh)
	errNo := errors.New("no")
	last := 0
	for i, tt := range []struct {
		db    *mysql.Database
		kind  string
		again bool // the connection of the one before
	}{
		{w.db, "reads", false},
		{w.db, "commits", true},
		{w.db, "rolled back", true},
		{w.db, "fails", true},
		{w.db, "statement fails", false},
		{fresh, "reads", false},
		{fresh, "commits", false},
		{w.db, "reads", false},
		{w.db, "reads", true},
	} {
		var id int
		err := c.Run(t.Context(), dtc.TxID(fmt.Sprintf("connection-%d", i)), func(ctx context.Context, tx *dtc.Tx) error {
			if tt.kind == "rolled back" { // when it has been prepared
				b := dtc.Branch{Participant: tt.db.ID(), XID: tx.XID(), Payload: insertToken(tx.XID()), Attempt: 1}
				v, err := tt.db.Prepare(ctx, b)
				if v != dtc.VoteCommit || err != nil {
					return err
				}
				id = w.session(t, b)
				return tt.db.Rollback(ctx, b)
			}
			return tt.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) (err error) {
				if id, err = connectionID(ctx, q); err != nil {
					return err
				}
				switch tt.kind {
				case "commits":
					return insert(ctx, q, tx.XID())
				case "fails":
					return errors.Join(insert(ctx, q, tx.XID()), errNo)
				case "statement fails":
					_, err = q.ExecContext(ctx, "INSERT INTO there_is_none VALUES (1)")
				}
				return err
			})
		})
		if (err != nil) != strings.Contains(tt.kind, "fails") {
			t.Fatalf("%s: %v", tt.kind, err)
		}
		eventually(t, "the transaction ends", func() bool { return c.Stats().Unfinished == 0 })
		if again := id == last; again != tt.again {
			t.Errorf("%d, %s: the connection of the one before was used again: %v, want %v", i, tt.kind, again, tt.again)
		}
		last = id
	}
	w.clean(t)
}

// TestDoPanics: a panic of the function rolls everything back, and goes on.
func TestDoPanics(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
		eventually(t, "the transaction ends", func() bool { return c.Stats().Unfinished == 0 })
		if n := w.count(t, "SELECT COUNT(*) FROM token"); n != 0 {
			t.Errorf("%d rows", n)
		}
		w.clean(t)
	}()
	_ = c.Run(t.Context(), "panics", func(ctx context.Context, tx *dtc.Tx) error {
		return w.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error {
			if err := insert(ctx, q, tx.XID()); err != nil {
				return err
			}
			panic("on purpose")
		})
	})
}

// TestWorkOfADeadProcess: a branch was enlisted and its process is gone.
func TestWorkOfADeadProcess(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	c := open(t, w.db)
	err := c.Run(t.Context(), "gone", func(_ context.Context, tx *dtc.Tx) error { return tx.Enlist("orders", nil) })
	if !errors.Is(err, dtc.ErrRolledBack) || !strings.Contains(err.Error(), "the work of this branch is not there") {
		t.Errorf("error %v", err)
	}
}
