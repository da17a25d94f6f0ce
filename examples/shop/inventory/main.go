// Command inventory is the shop's stock: a participant that sets pieces aside when
// it is asked to prepare, and takes them from the shelf when the order commits.
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

const schema = `
CREATE TABLE IF NOT EXISTS stock (
	item      TEXT    NOT NULL PRIMARY KEY,
	delivered INTEGER NOT NULL,
	on_shelf  INTEGER NOT NULL CHECK (on_shelf >= 0),
	set_aside INTEGER NOT NULL CHECK (set_aside BETWEEN 0 AND on_shelf)
);
INSERT OR IGNORE INTO stock VALUES ('keyboard', 1000, 1000, 0), ('lamp', 3, 3, 0);
CREATE TABLE IF NOT EXISTS shipment (
	xid      TEXT    NOT NULL PRIMARY KEY,
	order_id TEXT    NOT NULL UNIQUE,
	item     TEXT    NOT NULL,
	quantity INTEGER NOT NULL,
	state    TEXT    NOT NULL CHECK (state IN ('set_aside', 'shipped'))
);`

func main() {
	service.Main(service.Service{
		Name: "inventory", Schema: schema,
		Path: "stock", List: "SELECT item, on_shelf, set_aside FROM stock ORDER BY item",
		Funcs: guard.Funcs{Prepare: setAside, Commit: ship, Rollback: putBack},
	})
}

// setAside does all that can fail. From then on nobody else can buy the pieces.
func setAside(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	var want struct {
		Item     string
		Quantity int
	}
	if err := service.Read(b, &want); err != nil {
		return dtc.VoteAbort, err
	}
	if want.Quantity < 1 {
		return dtc.VoteAbort, fmt.Errorf("%d pieces make no order", want.Quantity)
	}
	ok, err := service.Changed(ctx, tx,
		"UPDATE stock SET set_aside = set_aside + ? WHERE item = ? AND on_shelf - set_aside >= ?",
		want.Quantity, want.Item, want.Quantity)
	if err != nil {
		return dtc.VoteAbort, err
	}
	if !ok {
		var left int
		err := tx.QueryRowContext(ctx, "SELECT on_shelf - set_aside FROM stock WHERE item = ?", want.Item).Scan(&left)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return dtc.VoteAbort, err
		}
		return dtc.VoteAbort, fmt.Errorf("out of stock: %d %s wanted, %d left", want.Quantity, want.Item, left)
	}
	return dtc.VoteCommit, service.Change(ctx, tx, "INSERT INTO shipment VALUES (?, ?, ?, ?, 'set_aside')",
		b.XID.String(), string(b.TxID), want.Item, want.Quantity)
}

func ship(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	xid := b.XID.String()
	return errors.Join(
		service.Change(ctx, tx, `UPDATE stock SET on_shelf = on_shelf - quantity, set_aside = set_aside - quantity
			FROM shipment WHERE xid = ? AND shipment.item = stock.item`, xid),
		service.Change(ctx, tx, "UPDATE shipment SET state = 'shipped' WHERE xid = ?", xid))
}

func putBack(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	xid := b.XID.String()
	return errors.Join(
		service.Change(ctx, tx, `UPDATE stock SET set_aside = set_aside - quantity
			FROM shipment WHERE xid = ? AND shipment.item = stock.item`, xid),
		service.Change(ctx, tx, "DELETE FROM shipment WHERE xid = ?", xid))
}
