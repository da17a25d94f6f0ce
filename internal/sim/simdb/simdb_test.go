package simdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// world is a database with an account of 10 and the pools of two processes.
type world struct {
	*testing.T
	db       *simdb.DB
	one, two *sql.DB
}

// inBubble runs f in a bubble: a wait that nobody ends fails the test.
func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, db: simdb.New(simdb.Tokens)}
		w.one, w.two = simdb.Open(w.db), simdb.Open(w.db)
		defer w.one.Close()
		defer w.two.Close()
		w.exec(w.one, "INSERT INTO account (id, balance) VALUES ('a', 10)")
		f(w)
		if open, waiting := w.db.Busy(); open+waiting > 0 {
			t.Errorf("at the end %d transactions are open and %d statements wait", open, waiting)
		}
	})
}

// doer is a pool or a transaction.
type doer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (w *world) begin(pool *sql.DB) *sql.Tx {
	w.Helper()
	tx, err := pool.BeginTx(w.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		w.Fatal(err)
	}
	return tx
}

func (w *world) exec(d doer, query string, args ...any) int64 {
	w.Helper()
	res, err := d.ExecContext(w.Context(), query, args...)
	if err != nil {
		w.Fatalf("%s: %v", query, err)
	}
	n, _ := res.RowsAffected()
	return n
}

// balance is what d sees in account a.
func (w *world) balance(d doer) (n int) {
	w.Helper()
	if err := d.QueryRowContext(w.Context(), "SELECT balance FROM account WHERE id = 'a'").Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) commit(tx *sql.Tx) {
	w.Helper()
	if err := tx.Commit(); err != nil {
		w.Fatal(err)
	}
}

// waiting starts a call, and makes sure that it waits.
func (w *world) waiting(call func() (sql.Result, error)) (answer func() (int64, error)) {
	w.Helper()
	var res sql.Result
	var err error
	done := false
	go func() {
		res, err = call()
		done = true
	}()
	synctest.Wait()
	if done {
		w.Fatalf("it did not wait: %v", err)
	}
	return func() (int64, error) {
		w.Helper()
		synctest.Wait()
		if !done {
			w.Fatal("it waits still")
		}
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	}
}

const (
	pay    = "UPDATE account SET balance = balance - 10 WHERE id = $1 AND balance >= 10"
	insert = "INSERT INTO account (id, balance) VALUES ($1, 1) ON CONFLICT DO NOTHING"
)

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var e *simdb.Error
	if !errors.As(err, &e) || e.SQLState() != code {
		t.Errorf("%v, want an error of code %s", err, code)
	}
}

func TestUncommittedIsNotSeen(t *testing.T) {
	inBubble(t, func(w *world) {
		tx := w.begin(w.one)
		w.exec(tx, pay, "a")
		w.exec(tx, insert, "b")
		if mine, theirs := w.balance(tx), w.balance(w.two); mine != 0 || theirs != 10 {
			t.Errorf("before the commit the balance is %d within and %d without, want 0 and 10", mine, theirs)
		}
		other := w.begin(w.two)
		if got := w.balance(other); got != 10 {
			t.Errorf("another transaction sees %d, want 10", got)
		}
		w.commit(tx)
		if got := w.balance(other); got != 0 {
			t.Errorf("its next statement sees %d, want 0: each has a snapshot of its own", got)
		}
		w.commit(other)
		if n := len(w.db.Rows("account")); n != 2 {
			t.Errorf("%d accounts, want 2", n)
		}
	})
}

func TestUpdateWaitsAndLooksAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, commit := range []bool{false, true} {
			tx := w.begin(w.one)
			w.exec(tx, pay, "a")
			answer := w.waiting(func() (sql.Result, error) { return w.two.ExecContext(w.Context(), pay, "a") })
			want := int64(0)
			if commit {
				w.commit(tx)
			} else {
				tx.Rollback()
				want = 1
			}
			if n, err := answer(); n != want || err != nil {
				t.Errorf("committed %v: the second payment changed %d rows, %v; want %d", commit, n, err, want)
			}
			w.exec(w.one, "UPDATE account SET balance = 10 WHERE id = 'a'")
		}
	})
}

func TestInsertWaitsForTheKey(t *testing.T) {
	inBubble(t, func(w *world) {
		for i, commit := range []bool{false, true} {
			id := fmt.Sprint(i)
			tx := w.begin(w.one)
			w.exec(tx, insert, id)
			answer := w.waiting(func() (sql.Result, error) { return w.two.ExecContext(w.Context(), insert, id) })
			want := int64(0)
			if commit {
				w.commit(tx)
			} else {
				tx.Rollback()
				want = 1
			}
			if n, err := answer(); n != want || err != nil {
				t.Errorf("committed %v: the second insert made %d rows, %v; want %d", commit, n, err, want)
			}
		}
		_, err := w.two.ExecContext(w.Context(), "INSERT INTO account (id, balance) VALUES ('a', 1)")
		wantCode(t, err, "23505")
	})
}

func TestDeadlockHasOneVictim(t *testing.T) {
	inBubble(t, func(w *world) {
		w.exec(w.one, "INSERT INTO account (id, balance) VALUES ('b', 10)")
		first, second := w.begin(w.one), w.begin(w.two)
		w.exec(first, pay, "a")
		w.exec(second, pay, "b")
		answer := w.waiting(func() (sql.Result, error) { return first.ExecContext(w.Context(), pay, "b") })
		_, err := second.ExecContext(w.Context(), pay, "a")
		wantCode(t, err, "40P01")
		if n, err := answer(); n != 1 || err != nil {
			t.Errorf("the other one answers %d, %v; want 1 row as soon as the victim has failed", n, err)
		}
		_, err = second.ExecContext(w.Context(), insert, "c")
		wantCode(t, err, "25P02")
		if err := second.Commit(); err == nil {
			t.Error("a failed transaction was committed")
		}
		w.commit(first)
	})
}

func TestThoseWhoWaitAreServedInOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		tx := w.begin(w.one)
		w.exec(tx, insert, "b")
		var order []int
		for i := range 5 {
			go func() {
				res, err := w.two.ExecContext(w.Context(), insert, "b")
				if err != nil {
					t.Error(err)
				} else if n, _ := res.RowsAffected(); n == 1 {
					order = append(order, i)
				}
			}()
			synctest.Wait()
		}
		tx.Rollback()
		synctest.Wait()
		if !slices.Equal(order, []int{0}) {
			t.Errorf("%v inserted, want the first that waited and no other", order)
		}
	})
}

func TestContextEndsAWaitAndFreesWhatWasHeld(t *testing.T) {
	inBubble(t, func(w *world) {
		tx := w.begin(w.one)
		w.exec(tx, pay, "a")
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		other, err := w.two.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.exec(other, insert, "b")
		start := time.Now()
		if _, err := other.ExecContext(ctx, pay, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the wait ended with %v", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("it waited %v, want 1 s", d)
		}
		other.Rollback()
		w.exec(tx, insert, "b") // free again
		w.commit(tx)
	})
}

func TestTablesAreCreatedOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		const create = "CREATE TABLE IF NOT EXISTS hold (id text NOT NULL PRIMARY KEY)"
		tx := w.begin(w.one)
		w.exec(tx, create)
		_, err := w.two.ExecContext(w.Context(), "SELECT id FROM hold")
		wantCode(t, err, "42P01")
		answer := w.waiting(func() (sql.Result, error) { return w.two.ExecContext(w.Context(), create) })
		w.commit(tx)
		_, err = answer()
		wantCode(t, err, "23505")
		w.exec(w.two, create)
		w.exec(w.two, "INSERT INTO hold (id) VALUES ($1)", "x")
	})
}

func TestUnknownStatementsAreQuoted(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, query := range []string{
			"SELECT xid FROM token FOR UPDATE",
			"UPDATE token SET state = upper(state)",
			"INSERT INTO token (xid) SELECT xid FROM token",
			"DELETE FROM token WHERE NOT xid = 'a'",
			"DELETE FROM token RETURNING xid",
			"DROP TABLE token",
			"SELECT 'a",
			"",
		} {
			_, err := w.one.ExecContext(w.Context(), query)
			wantCode(t, err, "42601")
			if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", query)) {
				t.Errorf("%v does not quote %q", err, query)
			}
		}
		_, err := w.one.ExecContext(w.Context(), "SELECT name FROM account")
		wantCode(t, err, "42703")
		_, err = w.one.ExecContext(w.Context(), insert)
		wantCode(t, err, "08P01")
	})
}
