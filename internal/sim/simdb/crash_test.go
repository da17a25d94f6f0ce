package simdb_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// at lets calls of Step with this name do something; the others pass.
func (w *world) at(what string, do func() error) {
	w.db.Step = func(_ context.Context, at string) error {
		if at == what {
			return do()
		}
		return nil
	}
}

var errCut = errors.New("the connection was cut")

func TestCrashAndCutAroundACommit(t *testing.T) {
	for _, c := range []struct {
		at   string
		done bool
	}{{"begin", false}, {"update account", false}, {"commit", false}, {"committed", true}} {
		for _, crash := range []bool{false, true} {
			inBubble(t, func(w *world) {
				w.at(c.at, func() error {
					if crash {
						w.db.Crash()
						return nil
					}
					return errCut
				})
				tx, err := w.one.BeginTx(w.Context(), nil)
				if err == nil {
					if _, err = tx.ExecContext(w.Context(), pay, "a"); err == nil {
						err = tx.Commit()
					}
					tx.Rollback()
				}
				if err == nil {
					t.Fatalf("%s, crash %v: no error", c.at, crash)
				}
				w.db.Step = nil
				if crash {
					_, err := w.two.ExecContext(w.Context(), pay, "a")
					wantCode(t, err, "57P03")
					w.db.Restart()
				}
				if got := w.balance(w.two); (got == 0) != c.done {
					t.Errorf("%s, crash %v: afterwards the balance is %d, want it paid: %v", c.at, crash, got, c.done)
				}
			})
		}
	}
}

func TestCrashEndsWaits(t *testing.T) {
	inBubble(t, func(w *world) {
		tx := w.begin(w.one)
		w.exec(tx, pay, "a")
		answer := w.waiting(func() (sql.Result, error) { return w.two.ExecContext(w.Context(), pay, "a") })
		w.db.Crash()
		_, err := answer()
		wantCode(t, err, "57P02")
		if err := tx.Commit(); err == nil {
			t.Error("a transaction outlived the crash")
		}
		w.db.Restart()
		if n := w.exec(w.two, pay, "a"); n != 1 {
			t.Errorf("afterwards %d rows are changed, want 1: the first payment was not committed", n)
		}
	})
}

func TestKilledProcessHoldsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		tx, waits := w.begin(w.one), w.begin(w.one)
		w.exec(tx, pay, "a")
		mine := w.waiting(func() (sql.Result, error) { return waits.ExecContext(w.Context(), pay, "a") })
		theirs := w.waiting(func() (sql.Result, error) { return w.two.ExecContext(w.Context(), pay, "a") })
		simdb.Kill(w.one)
		if _, err := mine(); err == nil {
			t.Error("a call of the dead process was answered")
		}
		if n, err := theirs(); n != 1 || err != nil {
			t.Errorf("another process answers %d, %v; want 1 row", n, err)
		}
		if err := tx.Commit(); err == nil {
			t.Error("the dead process has committed")
		}
		if _, err := w.one.ExecContext(w.Context(), insert, "b"); err == nil {
			t.Error("the dead process has connected")
		}
	})
}

func TestLateCommit(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		for _, alone := range []bool{false, true} {
			inBubble(t, func(w *world) {
				late := "commit"
				if alone {
					late = "update account"
				}
				w.at(late, func() error { return simdb.ErrLate })
				var err error
				if alone {
					_, err = w.one.ExecContext(w.Context(), pay, "a")
				} else {
					tx := w.begin(w.one)
					w.exec(tx, pay, "a")
					err = tx.Commit()
				}
				if !errors.Is(err, simdb.ErrLate) {
					t.Errorf("the client heard %v", err)
				}
				w.db.Step = nil
				if got := w.balance(w.two); got != 10 {
					t.Errorf("the balance is %d before it arrives", got)
				}
				if !w.db.Deliver(arrives) || w.db.Deliver(true) {
					t.Error("there was not one thing to deliver")
				}
				if got := w.balance(w.two); (got == 0) != arrives {
					t.Errorf("arrives %v: the balance is %d", arrives, got)
				}
			})
		}
	}
}

// A statement that arrives late waits like any other, and then takes effect.
func TestLateStatementWaits(t *testing.T) {
	inBubble(t, func(w *world) {
		w.at("update account", func() error { return simdb.ErrLate })
		_, err := w.one.ExecContext(w.Context(), pay, "a")
		if !errors.Is(err, simdb.ErrLate) {
			t.Error(err)
		}
		w.db.Step = nil
		tx := w.begin(w.two)
		w.exec(tx, "UPDATE account SET balance = balance + 5 WHERE id = 'a'")
		w.db.Deliver(true)
		w.commit(tx)
		if got := w.balance(w.two); got != 5 {
			t.Errorf("the balance is %d, want 5", got)
		}
	})
}
