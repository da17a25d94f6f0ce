// Command check reads the three files of the shop with plain SQL, and exits with 0
// only if every order is in all of them or in none, and goods and money add up. It
// may be run at any time: an order that is under way is in between, and it says so.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// wrong are queries that find what must not be; each row says what.
var wrong = []string{
	// Every order is in all three files or in none.
	`SELECT ids.order_id || ' is in' || iif(s.xid IS NULL, '', ' inventory') || iif(c.xid IS NULL, '', ' payment') ||
		iif(o.xid IS NULL, '', ' orders') || ' only'
	FROM (SELECT order_id FROM shipment UNION SELECT order_id FROM charge UNION SELECT order_id FROM customer_order) ids
	LEFT JOIN shipment s USING (order_id) LEFT JOIN charge c USING (order_id) LEFT JOIN customer_order o USING (order_id)
	WHERE s.xid IS NULL OR c.xid IS NULL OR o.xid IS NULL`,
	// It is the same order everywhere.
	`SELECT order_id || ' is not the same everywhere'
	FROM customer_order o JOIN shipment s USING (order_id) JOIN charge c USING (order_id)
	WHERE (o.item, o.quantity, o.xid) <> (s.item, s.quantity, s.xid) OR (o.customer, o.amount, o.xid) <> (c.customer, c.amount, c.xid)`,
	// What was delivered is on the shelf or was ordered; what was paid in is there or was charged.
	`SELECT item || ': ' || delivered || ' delivered, ' || on_shelf || ' on the shelf'
	FROM stock WHERE delivered <> on_shelf + coalesce((SELECT sum(quantity) FROM customer_order o WHERE o.item = stock.item AND visible), 0)`,
	`SELECT customer || ': ' || paid_in || ' paid in, ' || balance || ' left'
	FROM card WHERE paid_in <> balance + coalesce((SELECT sum(amount) FROM customer_order o WHERE o.customer = card.customer AND visible), 0)`,
	// Nothing is left in between.
	`SELECT order_id || ': goods only set aside' FROM shipment WHERE state <> 'shipped'
	UNION ALL SELECT order_id || ': money only on hold' FROM charge WHERE state <> 'charged'
	UNION ALL SELECT order_id || ': order not visible' FROM customer_order WHERE NOT visible
	UNION ALL SELECT item || ': ' || set_aside || ' set aside' FROM stock WHERE set_aside <> 0
	UNION ALL SELECT customer || ': ' || on_hold || ' on hold' FROM card WHERE on_hold <> 0`,
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("check: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: check DIR")
	}
	orders, found, err := check(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range found {
		fmt.Println("FAILED:", text)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
	fmt.Printf("OK: %d orders, each in all three files, and goods and money add up\n", orders)
}

// check returns how many orders there are, and what is wrong with them.
func check(dir string) (orders int, found []string, err error) {
	db, err := sql.Open("sqlite", "file::memory:?_pragma=busy_timeout(10000)")
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // the one that has the files attached
	for _, name := range []string{"inventory", "payment", "orders"} {
		file := url.URL{Path: filepath.Join(dir, name+".db")}
		if _, err := db.Exec("ATTACH ? AS "+name, "file:"+file.EscapedPath()+"?mode=ro"); err != nil {
			return 0, nil, fmt.Errorf("open %s.db: %w", name, err)
		}
	}
	for _, query := range wrong {
		rows, err := db.Query(query)
		if err != nil {
			return 0, nil, err
		}
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return 0, nil, errors.Join(err, rows.Close())
			}
			found = append(found, text)
		}
		if err := rows.Err(); err != nil {
			return 0, nil, err
		}
	}
	return orders, found, db.QueryRow("SELECT count(*) FROM customer_order").Scan(&orders)
}
