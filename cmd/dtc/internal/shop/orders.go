package shop

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/dtc-project/dtc"
)

const ordersSchema = `
CREATE TABLE IF NOT EXISTS customer_order (
	order_id TEXT    NOT NULL PRIMARY KEY,
	xid      TEXT    NOT NULL UNIQUE,
	customer TEXT    NOT NULL,
	item     TEXT    NOT NULL,
	quantity INTEGER NOT NULL,
	amount   INTEGER NOT NULL,
	visible  INTEGER NOT NULL CHECK (visible IN (0, 1))
);
CREATE TABLE IF NOT EXISTS order_number (last INTEGER NOT NULL);
INSERT INTO order_number (last) SELECT 1000 WHERE NOT EXISTS (SELECT 1 FROM order_number);`

// createOrder does all that can fail: it writes the order, but nobody is shown
// an order that is not visible.
func createOrder(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	o, err := readOrder(b)
	if err != nil {
		return dtc.VoteAbort, err
	}
	if err := mustChange(ctx, tx,
		"INSERT INTO customer_order (order_id, xid, customer, item, quantity, amount, visible) VALUES (?, ?, ?, ?, ?, ?, 0)",
		o.ID, b.XID.String(), o.Customer, o.Item, o.Quantity, o.Amount()); err != nil {
		return dtc.VoteAbort, err
	}
	return dtc.VoteCommit, nil
}

func showOrder(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return mustChange(ctx, tx, "UPDATE customer_order SET visible = 1 WHERE xid = ?", b.XID.String())
}

func eraseOrder(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return mustChange(ctx, tx, "DELETE FROM customer_order WHERE xid = ?", b.XID.String())
}

// Numbers returns n order numbers that were never given out before.
func (s *Service) Numbers(ctx context.Context, n int) ([]string, error) {
	db, _, err := s.running()
	if err != nil {
		return nil, err
	}
	var last int
	err = db.QueryRowContext(ctx, "UPDATE order_number SET last = last + ? RETURNING last", n).Scan(&last)
	if err != nil {
		return nil, fmt.Errorf("take order numbers: %w", err)
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("order-%d", last-n+1+i)
	}
	return ids, nil
}
