// Command payment is the shop's cashier: a participant that puts money on hold when
// it is asked to prepare, and charges it when the order commits.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/examples/shop/internal/service"
	"github.com/dtc-project/dtc/guard"
)

// Amounts are in cents.
const schema = `
CREATE TABLE IF NOT EXISTS card (
	customer TEXT    NOT NULL PRIMARY KEY,
	paid_in  INTEGER NOT NULL,
	balance  INTEGER NOT NULL CHECK (balance >= 0),
	on_hold  INTEGER NOT NULL CHECK (on_hold BETWEEN 0 AND balance)
);
INSERT OR IGNORE INTO card VALUES ('alice', 2500000, 2500000, 0), ('bob', 1000, 1000, 0);
CREATE TABLE IF NOT EXISTS charge (
	xid      TEXT    NOT NULL PRIMARY KEY,
	order_id TEXT    NOT NULL UNIQUE,
	customer TEXT    NOT NULL,
	amount   INTEGER NOT NULL,
	state    TEXT    NOT NULL CHECK (state IN ('on_hold', 'charged'))
);`

func main() {
	service.Main(service.Service{
		Name: "payment", Schema: schema,
		Path: "cards", List: "SELECT customer, balance, on_hold FROM card ORDER BY customer",
		Funcs: guard.Funcs{Prepare: hold, Commit: charge, Rollback: release},
	})
}

// hold does all that can fail. From then on nobody else can spend the money.
func hold(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	var bill struct {
		Customer string
		Amount   int
	}
	if err := service.Read(b, &bill); err != nil {
		return dtc.VoteAbort, err
	}
	if bill.Amount < 0 {
		return dtc.VoteAbort, fmt.Errorf("%d cents are no price", bill.Amount)
	}
	ok, err := service.Changed(ctx, tx,
		"UPDATE card SET on_hold = on_hold + ? WHERE customer = ? AND balance - on_hold >= ?",
		bill.Amount, bill.Customer, bill.Amount)
	if err != nil {
		return dtc.VoteAbort, err
	}
	if !ok {
		return dtc.VoteAbort, fmt.Errorf("card refused: %d cents are too much for %s", bill.Amount, bill.Customer)
	}
	return dtc.VoteCommit, service.Change(ctx, tx, "INSERT INTO charge VALUES (?, ?, ?, ?, 'on_hold')",
		b.XID.String(), string(b.TxID), bill.Customer, bill.Amount)
}

func charge(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	xid := b.XID.String()
	return errors.Join(
		service.Change(ctx, tx, `UPDATE card SET balance = balance - amount, on_hold = on_hold - amount
			FROM charge WHERE xid = ? AND charge.customer = card.customer`, xid),
		service.Change(ctx, tx, "UPDATE charge SET state = 'charged' WHERE xid = ?", xid))
}

func release(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	xid := b.XID.String()
	return errors.Join(
		service.Change(ctx, tx, `UPDATE card SET on_hold = on_hold - amount
			FROM charge WHERE xid = ? AND charge.customer = card.customer`, xid),
		service.Change(ctx, tx, "DELETE FROM charge WHERE xid = ?", xid))
}
