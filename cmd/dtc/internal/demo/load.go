package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtctest"
)

const (
	callers = 16                     // orders that run at once
	outage  = 700 * time.Millisecond // of payment, at half time
	// Phase one is given up sooner than the outage ends: some orders are refused
	// because of it.
	loadPrepare = 500 * time.Millisecond
)

// rates is how often each message meets which fault.
var rates = map[dtctest.Fault]float64{
	dtctest.Drop: 0.03, dtctest.LoseAnswer: 0.03, dtctest.Late: 0.01,
	dtctest.Duplicate: 0.02, dtctest.Echo: 0.01,
}

// crowd is the act with many orders.
type crowd struct {
	*demo
	list  []shop.Order
	flaky []*dtctest.Flaky
	armed atomic.Bool // the next commit at payment kills it
	died  sync.WaitGroup
	taken atomic.Int64

	mu    sync.Mutex // guards what follows, and told
	load  Load
	late  map[string]bool // transactions that needed more than one commit or rollback
	fails []error
}

func (d *demo) actMany(ctx context.Context) error {
	if d.Orders == 0 {
		return nil
	}
	d.heading(5, fmt.Sprintf("%d orders, %d at a time, and everything goes wrong (seed %d)", d.Orders, callers, d.Seed))
	d.say("Messages are lost, late or come twice, some orders must be refused, payment dies at half time.")
	c := &crowd{demo: d, late: map[string]bool{}, load: Load{Seed: d.Seed, Orders: d.Orders, RolledBack: map[string]int{}}}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	d.show(c.count)
	began := time.Now()
	c.run(ctx)
	for _, f := range c.flaky {
		f.Heal()
	}
	if err := errors.Join(append(c.fails, ctx.Err())...); err != nil {
		return err
	}
	if err := d.settle(); err != nil {
		return err
	}
	c.load.Took = time.Since(began)
	// What is still on its way arrives now, when all is over.
	for _, f := range c.flaky {
		f.DeliverLate(ctx)
		for fault, n := range f.Injected() {
			c.load.inject(fault, n)
		}
	}
	c.load.Recovered = len(c.late)
	d.sum.Load = &c.load
	c.load.print(d.story)
	return nil
}

// prepare makes the orders, what they need, and a bad connection to every
// service.
func (c *crowd) prepare(ctx context.Context) error {
	ids, err := c.services[shop.Orders].Numbers(ctx, c.Orders)
	if err != nil {
		return err
	}
	items := []string{"chair", "desk", "lamp", "mouse", "screen"}
	customers := []string{"Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan"}
	const beggar = "Mallory" // has no money
	dice := rand.New(rand.NewPCG(c.Seed, 0))
	for _, id := range ids {
		o := shop.Order{
			ID: id, Customer: customers[dice.IntN(len(customers))],
			Item: items[dice.IntN(len(items))], Quantity: 1 + dice.IntN(3),
		}
		switch dice.IntN(20) {
		case 0:
			o.Item = "unicorn" // never in stock
		case 1:
			o.Customer = beggar
		}
		c.list = append(c.list, o)
	}
	for _, item := range items {
		if err := c.services[shop.Inventory].Stock(ctx, item, 3*c.Orders); err != nil {
			return err
		}
	}
	for _, customer := range customers {
		if err := c.services[shop.Payment].Deposit(ctx, customer, 3*c.Orders*shop.Price); err != nil {
			return err
		}
	}
	for i, name := range shop.Names {
		f := c.badConnection(ctx, c.services[name], c.Seed+uint64(i))
		c.flaky = append(c.flaky, f)
		if err := c.c.Register(f); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) badConnection(ctx context.Context, s *shop.Service, seed uint64) *dtctest.Flaky {
	faults := dtctest.Faults{Rate: rates}
	var f *dtctest.Flaky
	if s.ID() == shop.Payment {
		faults.Script = func(call dtctest.Call) (dtctest.Fault, bool) {
			// After the effect and before the answer: the hardest moment.
			if call.Method == dtctest.MethodCommit && c.armed.CompareAndSwap(true, false) {
				return dtctest.CrashAfter, true
			}
			return dtctest.NoFault, false
		}
		faults.OnCrash = func() {
			c.note(s.Stop())
			c.mu.Lock()
			c.load.Died++
			c.mu.Unlock()
			c.died.Go(func() {
				time.Sleep(outage)
				c.note(s.Start(ctx))
				f.Restart()
			})
		}
	}
	f = dtctest.NewFlaky(s, seed, faults)
	return f
}

func (c *crowd) note(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fails = append(c.fails, err)
	}
}

// run executes the orders, and returns when every caller has its answer and
// payment is back.
func (c *crowd) run(ctx context.Context) {
	var waiting sync.WaitGroup
	for range callers {
		waiting.Go(func() {
			for ctx.Err() == nil {
				n := int(c.taken.Add(1)) - 1
				if n >= len(c.list) {
					return
				}
				if n == len(c.list)/2 {
					c.armed.Store(true)
				}
				c.one(ctx, c.list[n])
			}
		})
	}
	stop := c.progress()
	waiting.Wait()
	stop()
	c.died.Wait()
}

// one executes an order. Its caller does not wait for phase two.
func (c *crowd) one(ctx context.Context, o shop.Order) {
	ok, err := c.c.ExecuteWith(ctx, o.TxID(), &dtc.TxOptions{
		PrepareTimeout: loadPrepare, CompletionWait: -1,
	}, o.Branches()...)
	var rolled *dtc.RollbackError
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ok:
		c.told[o.ID] = true
		c.load.Committed++
	case errors.As(err, &rolled):
		c.told[o.ID] = false
		reason := rolled.Reason.Code.String()
		if rolled.Reason.Participant != "" {
			reason += " by " + rolled.Reason.Participant
		}
		c.load.RolledBack[reason]++
	default:
		c.fails = append(c.fails, fmt.Errorf("%s: %w", o.ID, err))
	}
}

// count takes the steps of the protocol.
func (c *crowd) count(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Kind {
	case retrying:
		c.load.Retries++
		if e.Verb != "prepare" {
			c.late[e.Tx] = true
		}
	case hazard:
		c.fails = append(c.fails, fmt.Errorf("%s broke its promise about %s", e.Participant, e.Tx))
	case appended, forced, calling, called, decided, ended, recovered:
	}
}

// progress shows on a terminal how far it is, until the function that it returns
// is called.
func (c *crowd) progress() (stop func()) {
	if !IsTerminal(c.Out) {
		return func() {}
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.printf("\r   %d of %d orders, %d not finished everywhere ", min(int(c.taken.Load()), len(c.list)),
					len(c.list), c.c.Stats().Unfinished)
			case <-done:
				c.printf("\r%s\r", strings.Repeat(" ", 70))
				return
			}
		}
	}()
	return func() { close(done); <-gone }
}
