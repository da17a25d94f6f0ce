// Package audit looks into the three databases of the shop from outside, with
// plain SQL. It shares no code with the services: what it finds is what the
// files hold, whatever the services believe.
package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Check is one part of the invariant.
type Check struct {
	Name   string `json:"name"`
	Held   bool   `json:"held"`
	Detail string `json:"detail"`
}

// Books are the three databases, opened for reading only.
type Books struct{ db *sql.DB }

// Open opens the databases in a directory. They may be in use.
func Open(ctx context.Context, dir string) (*Books, error) {
	// A connection that has all three attached, and never another one.
	db, err := sql.Open("sqlite", "file::memory:?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxLifetime(0)
	for _, name := range []string{"inventory", "payment", "orders"} {
		file := url.URL{Path: filepath.Join(dir, name+".db")}
		_, err := db.ExecContext(ctx, "ATTACH ? AS "+name, "file:"+file.EscapedPath()+"?mode=ro")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s.db to look at it: %w", name, err), db.Close())
		}
	}
	return &Books{db}, nil
}

// Close closes the databases.
func (b *Books) Close() error { return b.db.Close() }

// Invariant checks everything that must hold when no transaction is running.
func (b *Books) Invariant(ctx context.Context) ([]Check, error) {
	var checks []Check
	for _, check := range []func(context.Context) (Check, error){
		b.allOrNone, b.stock, b.money, b.nothingPrepared,
	} {
		c, err := check(ctx)
		if err != nil {
			return nil, fmt.Errorf("check the databases: %w", err)
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// allOrNone: the same orders stand in all three databases, with the same goods
// and the same amount.
func (b *Books) allOrNone(ctx context.Context) (Check, error) {
	c := Check{Name: "orders"}
	var counts [3]int
	if err := b.db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM inventory.shipment),
		(SELECT count(*) FROM payment.charge),
		(SELECT count(*) FROM orders.customer_order)`).Scan(&counts[0], &counts[1], &counts[2]); err != nil {
		return c, err
	}
	torn, err := b.texts(ctx, `
		WITH ids AS (
			SELECT order_id FROM inventory.shipment UNION
			SELECT order_id FROM payment.charge UNION
			SELECT order_id FROM orders.customer_order)
		SELECT ids.order_id || ' is in' ||
			iif(s.order_id IS NULL, '', ' inventory.db') ||
			iif(p.order_id IS NULL, '', ' payment.db') ||
			iif(o.order_id IS NULL, '', ' orders.db') || ' only'
		FROM ids
		LEFT JOIN inventory.shipment s USING (order_id)
		LEFT JOIN payment.charge p USING (order_id)
		LEFT JOIN orders.customer_order o USING (order_id)
		WHERE s.order_id IS NULL OR p.order_id IS NULL OR o.order_id IS NULL
		ORDER BY length(ids.order_id), ids.order_id`)
	if err != nil {
		return c, err
	}
	different, err := b.texts(ctx, `
		SELECT order_id || ' is not the same order everywhere'
		FROM orders.customer_order o
		JOIN inventory.shipment s USING (order_id)
		JOIN payment.charge p USING (order_id)
		WHERE (o.item, o.quantity) <> (s.item, s.quantity) OR (o.customer, o.amount) <> (p.customer, p.amount)
			OR o.xid <> s.xid OR o.xid <> p.xid
		ORDER BY length(order_id), order_id`)
	if err != nil {
		return c, err
	}
	return c.judge(fmt.Sprintf("%d in inventory.db, %d in payment.db, %d in orders.db: the same ones",
		counts[0], counts[1], counts[2]), append(torn, different...)), nil
}

// stock: what was delivered is on the shelf or was shipped.
func (b *Books) stock(ctx context.Context) (Check, error) {
	c := Check{Name: "stock"}
	var delivered, onShelf, shipped int
	if err := b.db.QueryRowContext(ctx, `SELECT
		(SELECT coalesce(sum(delivered), 0) FROM inventory.stock),
		(SELECT coalesce(sum(on_shelf), 0) FROM inventory.stock),
		(SELECT coalesce(sum(quantity), 0) FROM orders.customer_order WHERE visible)`).
		Scan(&delivered, &onShelf, &shipped); err != nil {
		return c, err
	}
	wrong, err := b.texts(ctx, `
		SELECT item || ': ' || delivered || ' delivered, but ' || on_shelf || ' left and ' || ordered || ' ordered'
		FROM (SELECT stock.*, coalesce((SELECT sum(quantity) FROM orders.customer_order o
			WHERE o.item = stock.item AND visible), 0) AS ordered FROM inventory.stock)
		WHERE delivered <> on_shelf + ordered OR set_aside <> 0
		ORDER BY item`)
	if err != nil {
		return c, err
	}
	return c.judge(fmt.Sprintf("%d delivered = %d on the shelf + %d ordered", delivered, onShelf, shipped), wrong), nil
}

// money: what was paid in is in the accounts or was charged.
func (b *Books) money(ctx context.Context) (Check, error) {
	c := Check{Name: "money"}
	var paidIn, balance, charged int
	if err := b.db.QueryRowContext(ctx, `SELECT
		(SELECT coalesce(sum(paid_in), 0) FROM payment.account),
		(SELECT coalesce(sum(balance), 0) FROM payment.account),
		(SELECT coalesce(sum(amount), 0) FROM orders.customer_order WHERE visible)`).
		Scan(&paidIn, &balance, &charged); err != nil {
		return c, err
	}
	wrong, err := b.texts(ctx, `
		SELECT printf('%s: %.2f paid in, but %.2f left and %.2f ordered', customer, paid_in / 100.0, balance / 100.0, ordered / 100.0)
		FROM (SELECT account.*, coalesce((SELECT sum(amount) FROM orders.customer_order o
			WHERE o.customer = account.customer AND visible), 0) AS ordered FROM payment.account)
		WHERE paid_in <> balance + ordered OR on_hold <> 0
		ORDER BY customer`)
	if err != nil {
		return c, err
	}
	return c.judge(fmt.Sprintf("%s paid in = %s in the accounts + %s charged",
		money(paidIn), money(balance), money(charged)), wrong), nil
}

// nothingPrepared: nobody holds anything any more.
func (b *Books) nothingPrepared(ctx context.Context) (Check, error) {
	c := Check{Name: "prepared"}
	left, err := b.texts(ctx, `
		SELECT xid || ' is still prepared in inventory.db' FROM inventory.dtc_guard_branch WHERE state = 'prepared' UNION ALL
		SELECT xid || ' is still prepared in payment.db' FROM payment.dtc_guard_branch WHERE state = 'prepared' UNION ALL
		SELECT xid || ' is still prepared in orders.db' FROM orders.dtc_guard_branch WHERE state = 'prepared' UNION ALL
		SELECT order_id || ' is only set aside' FROM inventory.shipment WHERE state <> 'shipped' UNION ALL
		SELECT order_id || ' is only on hold' FROM payment.charge WHERE state <> 'charged' UNION ALL
		SELECT order_id || ' is not visible' FROM orders.customer_order WHERE NOT visible`)
	if err != nil {
		return c, err
	}
	return c.judge("nothing is left prepared, set aside or on hold anywhere", left), nil
}

// judge makes the check's verdict: held if nothing was found wrong.
func (c Check) judge(good string, wrong []string) Check {
	c.Held, c.Detail = len(wrong) == 0, good
	if n := len(wrong); n > 0 {
		more := ""
		if n > 3 {
			more = fmt.Sprintf("; and %d more", n-3)
			wrong = wrong[:3]
		}
		c.Detail = strings.Join(wrong, "; ") + more
	}
	return c
}

// texts returns the one column of a query.
func (b *Books) texts(ctx context.Context, query string) ([]string, error) {
	rows, err := b.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
