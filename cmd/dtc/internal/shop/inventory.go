package shop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

const inventorySchema = `
CREATE TABLE IF NOT EXISTS stock (
	item      TEXT    NOT NULL PRIMARY KEY,
	delivered INTEGER NOT NULL,
	on_shelf  INTEGER NOT NULL CHECK (on_shelf >= 0),
	set_aside INTEGER NOT NULL CHECK (set_aside BETWEEN 0 AND on_shelf)
);
CREATE TABLE IF NOT EXISTS shipment (
	order_id TEXT    NOT NULL PRIMARY KEY,
	xid      TEXT    NOT NULL UNIQUE,
	item     TEXT    NOT NULL,
	quantity INTEGER NOT NULL,
	state    TEXT    NOT NULL CHECK (state IN ('set_aside', 'shipped'))
);`

// reserveStock does all that can fail: it sets the pieces aside, so that nobody
// else can buy them.
func reserveStock(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	o, err := readOrder(b)
	if err != nil {
		return dtc.VoteAbort, err
	}
	enough, err := changes(ctx, tx,
		"UPDATE stock SET set_aside = set_aside + ? WHERE item = ? AND on_shelf - set_aside >= ?",
		o.Quantity, o.Item, o.Quantity)
	if err != nil {
		return dtc.VoteAbort, err
	}
	if !enough {
		var left int
		err := tx.QueryRowContext(ctx, "SELECT on_shelf - set_aside FROM stock WHERE item = ?", o.Item).Scan(&left)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return dtc.VoteAbort, err
		}
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("out of stock: %s wanted, %d left", o.Goods(), left))
	}
	if err := mustChange(ctx, tx,
		"INSERT INTO shipment (order_id, xid, item, quantity, state) VALUES (?, ?, ?, ?, 'set_aside')",
		o.ID, b.XID.String(), o.Item, o.Quantity); err != nil {
		return dtc.VoteAbort, err
	}
	return dtc.VoteCommit, nil
}

func takeStock(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	x := b.XID.String()
	if err := mustChange(ctx, tx, `UPDATE stock SET
		set_aside = set_aside - (SELECT quantity FROM shipment WHERE xid = ?1),
		on_shelf  = on_shelf  - (SELECT quantity FROM shipment WHERE xid = ?1)
		WHERE item = (SELECT item FROM shipment WHERE xid = ?1)`, x); err != nil {
		return err
	}
	return mustChange(ctx, tx, "UPDATE shipment SET state = 'shipped' WHERE xid = ?", x)
}

func freeStock(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	x := b.XID.String()
	if err := mustChange(ctx, tx, `UPDATE stock SET
		set_aside = set_aside - (SELECT quantity FROM shipment WHERE xid = ?1)
		WHERE item = (SELECT item FROM shipment WHERE xid = ?1)`, x); err != nil {
		return err
	}
	return mustChange(ctx, tx, "DELETE FROM shipment WHERE xid = ?", x)
}

// Stock makes sure that at least n pieces of an item can be sold. It is an
// ordinary local transaction: only one service is concerned.
func (s *Service) Stock(ctx context.Context, item string, n int) error {
	db, _, err := s.running()
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `INSERT INTO stock (item, delivered, on_shelf, set_aside) VALUES (?1, ?2, ?2, 0)
		ON CONFLICT (item) DO UPDATE SET
			delivered = delivered + max(0, ?2 - (on_shelf - set_aside)),
			on_shelf  = on_shelf  + max(0, ?2 - (on_shelf - set_aside))`, item, n)
	return err
}
