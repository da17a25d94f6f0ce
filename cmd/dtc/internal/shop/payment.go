package shop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

const paymentSchema = `
CREATE TABLE IF NOT EXISTS account (
	customer TEXT    NOT NULL PRIMARY KEY,
	paid_in  INTEGER NOT NULL,
	balance  INTEGER NOT NULL CHECK (balance >= 0),
	on_hold  INTEGER NOT NULL CHECK (on_hold BETWEEN 0 AND balance)
);
CREATE TABLE IF NOT EXISTS charge (
	order_id TEXT    NOT NULL PRIMARY KEY,
	xid      TEXT    NOT NULL UNIQUE,
	customer TEXT    NOT NULL,
	amount   INTEGER NOT NULL,
	state    TEXT    NOT NULL CHECK (state IN ('on_hold', 'charged'))
);`

// holdMoney does all that can fail: it puts the money on hold, so that nobody
// else can spend it.
func holdMoney(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	o, err := readOrder(b)
	if err != nil {
		return dtc.VoteAbort, err
	}
	enough, err := changes(ctx, tx,
		"UPDATE account SET on_hold = on_hold + ? WHERE customer = ? AND balance - on_hold >= ?",
		o.Amount(), o.Customer, o.Amount())
	if err != nil {
		return dtc.VoteAbort, err
	}
	if !enough {
		var left int
		err := tx.QueryRowContext(ctx, "SELECT balance - on_hold FROM account WHERE customer = ?", o.Customer).Scan(&left)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return dtc.VoteAbort, err
		}
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("not enough money: %s wanted, %s left", Money(o.Amount()), Money(left)))
	}
	if err := mustChange(ctx, tx,
		"INSERT INTO charge (order_id, xid, customer, amount, state) VALUES (?, ?, ?, ?, 'on_hold')",
		o.ID, b.XID.String(), o.Customer, o.Amount()); err != nil {
		return dtc.VoteAbort, err
	}
	return dtc.VoteCommit, nil
}

func chargeMoney(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	x := b.XID.String()
	if err := mustChange(ctx, tx, `UPDATE account SET
		on_hold = on_hold - (SELECT amount FROM charge WHERE xid = ?1),
		balance = balance - (SELECT amount FROM charge WHERE xid = ?1)
		WHERE customer = (SELECT customer FROM charge WHERE xid = ?1)`, x); err != nil {
		return err
	}
	return mustChange(ctx, tx, "UPDATE charge SET state = 'charged' WHERE xid = ?", x)
}

func releaseMoney(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	x := b.XID.String()
	if err := mustChange(ctx, tx, `UPDATE account SET
		on_hold = on_hold - (SELECT amount FROM charge WHERE xid = ?1)
		WHERE customer = (SELECT customer FROM charge WHERE xid = ?1)`, x); err != nil {
		return err
	}
	return mustChange(ctx, tx, "DELETE FROM charge WHERE xid = ?", x)
}

// Deposit makes sure that a customer can spend at least so many cents. It is an
// ordinary local transaction: only one service is concerned.
func (s *Service) Deposit(ctx context.Context, customer string, cents int) error {
	db, _, err := s.running()
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `INSERT INTO account (customer, paid_in, balance, on_hold) VALUES (?1, ?2, ?2, 0)
		ON CONFLICT (customer) DO UPDATE SET
			paid_in = paid_in + max(0, ?2 - (balance - on_hold)),
			balance = balance + max(0, ?2 - (balance - on_hold))`, customer, cents)
	return err
}
