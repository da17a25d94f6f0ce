// Command orders is the shop's order book: a participant that writes an order down
// when it is asked to prepare, and shows it when the order commits.
package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/examples/shop/internal/service"
	"github.com/dtc-project/dtc/guard"
)

const schema = `
CREATE TABLE IF NOT EXISTS customer_order (
	xid      TEXT    NOT NULL PRIMARY KEY,
	order_id TEXT    NOT NULL UNIQUE,
	customer TEXT    NOT NULL,
	item     TEXT    NOT NULL,
	quantity INTEGER NOT NULL,
	amount   INTEGER NOT NULL,
	visible  INTEGER NOT NULL CHECK (visible IN (0, 1))
);`

func main() {
	service.Main(service.Service{
		Name: "orders", Schema: schema,
		Path: "orders", List: `SELECT order_id, customer, item, quantity, amount FROM customer_order
			WHERE visible ORDER BY rowid DESC LIMIT 5`,
		Funcs: guard.Funcs{Prepare: write, Commit: show, Rollback: erase},
	})
}

// write does all that can fail. Nobody is shown the order yet.
func write(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	var o struct {
		Customer, Item   string
		Quantity, Amount int
	}
	if err := service.Read(b, &o); err != nil {
		return dtc.VoteAbort, err
	}
	if o.Customer == "" || o.Item == "" {
		return dtc.VoteAbort, errors.New("an order has a customer and an item")
	}
	return dtc.VoteCommit, service.Change(ctx, tx, "INSERT INTO customer_order VALUES (?, ?, ?, ?, ?, ?, 0)",
		b.XID.String(), string(b.TxID), o.Customer, o.Item, o.Quantity, o.Amount)
}

func show(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return service.Change(ctx, tx, "UPDATE customer_order SET visible = 1 WHERE xid = ?", b.XID.String())
}

func erase(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return service.Change(ctx, tx, "DELETE FROM customer_order WHERE xid = ?", b.XID.String())
}
