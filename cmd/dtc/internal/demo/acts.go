package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/audit"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
)

// What the four acts are played with.
const (
	alice      = "Alice"
	keyboard   = "keyboard"
	firstStock = 10
	firstMoney = 1000_00
	patience   = 20 * time.Second // with what should take milliseconds
)

func (d *demo) introduce(ctx context.Context) error {
	if err := d.settle(); err != nil {
		return err
	}
	if err := d.services[shop.Inventory].Stock(ctx, keyboard, firstStock); err != nil {
		return err
	}
	if err := d.services[shop.Payment].Deposit(ctx, alice, firstMoney); err != nil {
		return err
	}
	return d.opening(ctx)
}

// opening says what there is before anything happens.
func (d *demo) opening(ctx context.Context) error {
	d.printf("%s\n", d.bold("An order in a shop: three services, three databases, all of them or none"))
	d.printf("The coordinator asks every service to prepare, makes its decision durable, then tells all of them.\n")
	if d.unfinished > 0 {
		d.printf("An earlier run was cut short: %d of its transactions were finished first.\n", d.unfinished)
	}
	d.printf("\n")
	b, err := d.balance(ctx)
	if err != nil {
		return err
	}
	file := func(who, file, what string) { d.printf("   %-12s %-13s %s\n", who, file, what) }
	file(shop.Inventory, shop.File(shop.Inventory), shop.Pieces(b.OnShelf, keyboard)+" on the shelf, "+shop.Money(shop.Price)+" each")
	file(shop.Payment, shop.File(shop.Payment), "Alice has "+shop.Money(b.Balance))
	file(shop.Orders, shop.File(shop.Orders), "Alice has "+orders(b.Orders))
	file("coordinator", LogDir+"/", "the log of its decisions, nothing else")
	return nil
}

// next begins to tell of a new order.
func (d *demo) next(ctx context.Context, quantity int, brief bool) (shop.Order, error) {
	ids, err := d.services[shop.Orders].Numbers(ctx, 1)
	if err != nil {
		return shop.Order{}, err
	}
	return d.taken(ids[0], quantity, brief), nil
}

// taken is the order of that number, of which is told from now on.
func (d *demo) taken(id string, quantity int, brief bool) shop.Order {
	o := shop.Order{ID: id, Customer: alice, Item: keyboard, Quantity: quantity}
	d.begin(o, brief)
	d.sum.LastOrder = id
	return o
}

func (d *demo) actCommit(ctx context.Context) error {
	d.heading(1, "An order commits")
	o, err := d.next(ctx, 2, false)
	if err != nil {
		return err
	}
	d.say("%v", o)
	if err := d.expect(ctx, o, nil, true); err != nil {
		return err
	}
	return d.sayBalance(ctx)
}

// expect runs an order that must end as said.
func (d *demo) expect(ctx context.Context, o shop.Order, opts *dtc.TxOptions, want bool) error {
	ok, err := d.execute(ctx, o, opts)
	if err != nil {
		return err
	}
	if ok != want {
		return fmt.Errorf("%s: committed is %v, but this act is about an order for which it is %v", o.ID, ok, want)
	}
	return nil
}

func (d *demo) actOutOfStock(ctx context.Context) error {
	d.heading(2, "An order is out of stock: it is rolled back everywhere")
	o, err := d.next(ctx, 12, false)
	if err != nil {
		return err
	}
	d.say("%v", o)
	// Inventory takes its time: the others have promised by then, and have
	// something to undo.
	inventory := actor{Service: d.services[shop.Inventory], prepare: func(context.Context) {
		d.await("called prepare", 2)
	}}
	if err := d.c.Register(inventory); err != nil {
		return err
	}
	if err := d.expect(ctx, o, nil, false); err != nil {
		return err
	}
	if err := d.c.Register(inventory.Service); err != nil {
		return err
	}
	return d.sayBalance(ctx)
}

func (d *demo) actDeadService(ctx context.Context) error {
	d.heading(3, "A service dies after it has promised: retries with back-off until it is back")
	o, err := d.next(ctx, 3, true)
	if err != nil {
		return err
	}
	d.say("%v", o)
	const last = 5 // the attempt that finds payment alive again
	var broken error
	payment := actor{Service: d.services[shop.Payment]}
	payment.commit = func(attempt int) {
		switch attempt {
		case 1:
			broken = payment.Stop()
			d.line(shop.Payment, "DIES", "before the message arrives; its promise is in payment.db", d.bad)
		case last:
			broken = errors.Join(broken, d.sayBalance(ctx), payment.Start(ctx))
			d.line(shop.Payment, "IS BACK", "it opens payment.db again and finds what it promised", d.good)
		}
	}
	if err := d.c.Register(payment); err != nil {
		return err
	}
	// Who ordered need not wait until payment is back.
	if err := d.expect(ctx, o, &dtc.TxOptions{CompletionWait: -1}, true); err != nil {
		return err
	}
	finished := d.await("ended", 1)
	if err := errors.Join(broken, d.c.Register(payment.Service)); err != nil {
		return err
	}
	if !finished {
		return fmt.Errorf("%s: payment is back, but the order was not finished within %v", o.ID, patience)
	}
	return d.sayBalance(ctx)
}

// actor is a service with something that happens to it before it is called.
type actor struct {
	*shop.Service
	prepare func(ctx context.Context)
	commit  func(attempt int)
}

func (a actor) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if a.prepare != nil {
		a.prepare(ctx)
	}
	return a.Service.Prepare(ctx, b)
}

func (a actor) Commit(ctx context.Context, b dtc.Branch) error {
	if a.commit != nil {
		a.commit(b.Attempt)
	}
	return a.Service.Commit(ctx, b)
}

func (d *demo) balance(ctx context.Context) (v audit.Balance, err error) {
	books, err := audit.Open(ctx, d.dir)
	if err != nil {
		return v, err
	}
	defer books.Close()
	return books.Balance(ctx, keyboard, alice)
}

// sayBalance prints what the three files hold now.
func (d *demo) sayBalance(ctx context.Context) error {
	b, err := d.balance(ctx)
	if err != nil {
		return err
	}
	hold := func(text, some string) string {
		if some != "" {
			text += " (" + some + ")"
		}
		return text
	}
	var aside, held string
	if b.SetAside > 0 {
		aside = fmt.Sprintf("%d set aside", b.SetAside)
	}
	if b.OnHold > 0 {
		held = shop.Money(b.OnHold) + " on hold"
	}
	d.line("the files", "now hold", fmt.Sprintf("%s, Alice's %s, %s",
		hold(shop.Pieces(b.OnShelf, keyboard), aside), hold(shop.Money(b.Balance), held), orders(b.Orders)), d.bold)
	return nil
}

func orders(n int) string {
	if n == 0 {
		return "no order"
	}
	return shop.Pieces(n, "order")
}
