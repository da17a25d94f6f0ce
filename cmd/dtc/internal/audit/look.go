package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Held is what one database holds of one order.
type Held struct {
	Service string // and its database is Service.db
	State   string // of the branch: prepared, committed, …; empty if there is none
	What    string // in words
}

// Order returns what each database holds of an order.
func (b *Books) Order(ctx context.Context, id string) ([]Held, error) {
	all := []Held{{Service: "inventory"}, {Service: "payment"}, {Service: "orders"}}
	for i, query := range []string{
		`SELECT g.state, s.quantity || ' ' || s.item || iif(s.quantity = 1, ' ', 's ') ||
			iif(s.state = 'shipped', 'shipped', 'set aside, nobody else can buy')
		FROM inventory.shipment s LEFT JOIN inventory.dtc_guard_branch g USING (xid) WHERE order_id = ?`,
		`SELECT g.state, printf('%.2f ', p.amount / 100.0) || iif(p.state = 'charged', 'charged', 'on hold, nobody else can spend')
		FROM payment.charge p LEFT JOIN payment.dtc_guard_branch g USING (xid) WHERE order_id = ?`,
		`SELECT g.state, iif(visible, 'order visible', 'order written, still hidden')
		FROM orders.customer_order LEFT JOIN orders.dtc_guard_branch g USING (xid) WHERE order_id = ?`,
	} {
		var state sql.NullString
		err := b.db.QueryRowContext(ctx, query, id).Scan(&state, &all[i].What)
		if errors.Is(err, sql.ErrNoRows) {
			all[i].What, err = "nothing of this order", nil
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s in %s.db: %w", id, all[i].Service, err)
		}
		all[i].State = state.String
	}
	return all, nil
}

// Balance is what there is of one item and one customer's money.
type Balance struct {
	OnShelf, SetAside int // pieces
	Balance, OnHold   int // cents
	Orders            int // visible ones of that customer
}

// Balance returns the balances of an item and a customer.
func (b *Books) Balance(ctx context.Context, item, customer string) (v Balance, err error) {
	err = b.db.QueryRowContext(ctx, `
		SELECT on_shelf, set_aside, balance, on_hold,
			(SELECT count(*) FROM orders.customer_order o WHERE o.customer = a.customer AND visible)
		FROM inventory.stock, payment.account a WHERE item = ? AND customer = ?`, item, customer).
		Scan(&v.OnShelf, &v.SetAside, &v.Balance, &v.OnHold, &v.Orders)
	if err != nil {
		return v, fmt.Errorf("look at the balances: %w", err)
	}
	return v, nil
}

// Has returns which of the given orders stand in all three databases.
func (b *Books) Has(ctx context.Context, ids []string) (map[string]bool, error) {
	found, err := b.texts(ctx, `
		SELECT order_id FROM orders.customer_order
		JOIN inventory.shipment USING (order_id) JOIN payment.charge USING (order_id)`)
	if err != nil {
		return nil, err
	}
	in := make(map[string]bool, len(found))
	for _, id := range found {
		in[id] = true
	}
	has := make(map[string]bool, len(ids))
	for _, id := range ids {
		has[id] = in[id]
	}
	return has, nil
}
