package audit_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/audit"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
)

// TestInvariantFindsEverything breaks the databases in all the ways that the
// invariant is about, one at a time.
func TestInvariantFindsEverything(t *testing.T) {
	for _, tt := range []struct{ name, service, breaking, finds string }{
		{"nothing", shop.Orders, "", ""},
		{"shipped, but neither paid nor ordered", shop.Inventory, "INSERT INTO shipment VALUES ('order-9', 'x', 'lamp', 1, 'shipped')", "orders"},
		{"not charged", shop.Payment, "DELETE FROM charge WHERE order_id = 'order-1001'", "orders"},
		{"another amount", shop.Payment, "UPDATE charge SET amount = amount + 1 WHERE order_id = 'order-1001'", "orders"},
		{"another quantity", shop.Inventory, "UPDATE shipment SET quantity = quantity + 1 WHERE order_id = 'order-1001'", "orders"},
		{"another transaction's", shop.Inventory, "UPDATE shipment SET xid = 'x' WHERE order_id = 'order-1001'", "orders"},
		{"a lamp too few", shop.Inventory, "UPDATE stock SET on_shelf = on_shelf - 1", "stock"},
		{"a lamp is still set aside", shop.Inventory, "UPDATE stock SET set_aside = 1", "stock"},
		{"money has vanished", shop.Payment, "UPDATE account SET balance = balance - 1", "money"},
		{"money is still on hold", shop.Payment, "UPDATE account SET on_hold = 1", "money"},
		{"prepared in inventory", shop.Inventory, "UPDATE dtc_guard_branch SET state = 'prepared'", "prepared"},
		{"prepared in payment", shop.Payment, "UPDATE dtc_guard_branch SET state = 'prepared'", "prepared"},
		{"prepared in orders", shop.Orders, "UPDATE dtc_guard_branch SET state = 'prepared'", "prepared"},
		{"not visible", shop.Orders, "UPDATE customer_order SET visible = 0", "prepared"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			trade(t, dir)
			if tt.breaking != "" {
				change(t, filepath.Join(dir, shop.File(tt.service)), tt.breaking)
			}
			books, err := audit.Open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer books.Close()
			checks, err := books.Invariant(t.Context())
			if err != nil || len(checks) != 4 {
				t.Fatal(checks, err)
			}
			held := true
			for _, c := range checks {
				held = held && c.Held
				if c.Name == tt.finds && c.Held {
					t.Errorf("%s held: %s", c.Name, c.Detail)
				}
				if !c.Held {
					t.Logf("%s: %s", c.Name, c.Detail)
				}
			}
			if held != (tt.finds == "") {
				t.Errorf("held is %v: %+v", held, checks)
			}
		})
	}
}

// trade commits one order.
func trade(t *testing.T, dir string) {
	t.Helper()
	ctx := t.Context()
	services := shop.New(dir)
	var list []dtc.Participant
	for _, s := range services {
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := errors.Join(services[0].Stock(ctx, "lamp", 5), services[1].Deposit(ctx, "Bob", 1000_00)); err != nil {
		t.Fatal(err)
	}
	c, err := dtc.Open(filepath.Join(dir, "log"), &dtc.Config{Participants: list})
	if err != nil {
		t.Fatal(err)
	}
	o := shop.Order{ID: "order-1001", Customer: "Bob", Item: "lamp", Quantity: 2}
	ok, err := c.Execute(ctx, o.TxID(), o.Branches()...)
	if err := errors.Join(err, c.Close()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, s := range services {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func change(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}
