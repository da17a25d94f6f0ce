package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtctest"
)

const (
	callers = 16 // orders that run at once
	// How an order ends is a matter of the seed, and none of how fast the machine
	// is: so this is long.
	loadPrepare = 2 * time.Minute
)

// crowd is the act with many orders.
type crowd struct {
	*demo
	list  []shop.Order
	fates *fates
	flaky []*dtctest.Flaky
	died  chan struct{}  // payment is dead
	given sync.WaitGroup // callers that have not given up yet, and will
	back  sync.WaitGroup // until payment is back
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
	c := &crowd{demo: d, died: make(chan struct{}), late: map[string]bool{}, load: Load{Seed: d.Seed, Orders: d.Orders, RolledBack: map[string]int{}}}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	d.show(c.count)
	began := time.Now()
	c.run(ctx)
	err := c.failed(ctx)
	if err == nil {
		err = d.settle() // with a connection that is still bad
	}
	for _, f := range c.flaky {
		f.Heal()
	}
	if err != nil {
		return err
	}
	c.load.Took = time.Since(began)
	// What is still on its way arrives now, when all is over.
	for _, f := range c.flaky {
		f.DeliverLate(ctx)
	}
	for fault, n := range c.fates.injected {
		c.load.inject(fault, n)
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
	c.list, c.fates = draw(c.Seed, ids)
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
	c.given.Add(c.fates.unserved)
	for i, name := range shop.Names {
		l := line{c.badConnection(ctx, i, c.services[name]), c}
		c.flaky = append(c.flaky, l.Flaky)
		if err := c.c.Register(l); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) badConnection(ctx context.Context, service int, s *shop.Service) *dtctest.Flaky {
	var f *dtctest.Flaky
	f = dtctest.NewFlaky(s, c.Seed+uint64(service), dtctest.Faults{
		Script: func(call dtctest.Call) (dtctest.Fault, bool) {
			return c.fates.next(service, call.Method, string(call.Branch.TxID)), true
		},
		OnCrash: func() {
			c.note(s.Stop())
			c.mu.Lock()
			c.load.Died++
			c.mu.Unlock()
			c.back.Go(func() {
				c.given.Wait()
				if ctx.Err() == nil {
					c.note(s.Start(ctx))
					f.Restart()
				}
			})
			close(c.died)
		},
	})
	return f
}

func (c *crowd) note(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fails = append(c.fails, err)
	}
}

func (c *crowd) failed(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(append(c.fails, ctx.Err())...)
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
				c.one(ctx, c.list[n])
			}
		})
	}
	stop := c.progress()
	waiting.Wait()
	stop()
	for _, o := range c.list[min(int(c.taken.Load()), len(c.list)):] {
		if c.fates.of[o.ID].unserved {
			c.given.Done() // cut short: its caller never came
		}
	}
	select {
	case <-c.died: // its order is decided, so it must be told
		c.back.Wait()
	case <-ctx.Done():
	case <-time.After(patience):
		c.note(errors.New("payment should have died at half time"))
	}
}

// one executes an order. Its caller does not wait for phase two.
func (c *crowd) one(ctx context.Context, o shop.Order) {
	f := c.fates.of[o.ID]
	if f.unserved {
		var giveUp context.CancelCauseFunc
		ctx, giveUp = context.WithCancelCause(ctx)
		defer giveUp(nil)
		ctx = context.WithValue(ctx, patienceKey{}, giveUp)
		defer c.given.Done()
	}
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
		switch {
		case rolled.Reason.Participant != "":
			reason += " by " + rolled.Reason.Participant
		case errors.Is(err, errNoPatience):
			reason += " by its caller: " + errNoPatience.Error()
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
	case called:
		if f := c.fates.of[e.Tx]; f != nil && e.Verb == "prepare" && e.Error == "" {
			f.vote(e.Participant)
		}
	case retrying:
		c.load.Retries++
		if e.Verb != "prepare" {
			c.late[e.Tx] = true
		}
	case hazard:
		c.fails = append(c.fails, fmt.Errorf("%s broke its promise about %s", e.Participant, e.Tx))
	case appended, forced, calling, decided, ended, recovered:
	}
}

// progress shows on a terminal how far it is, until the function that it returns
// is called.
func (c *crowd) progress() (stop func()) {
	return c.ticking(func() {
		c.printf("\r   %d of %d orders, %d not finished everywhere ", min(int(c.taken.Load()), len(c.list)),
			len(c.list), c.c.Stats().Unfinished)
	})
}

// ticking calls show from time to time if there is a terminal, until the function
// that it returns is called.
func (d *demo) ticking(show func()) (stop func()) {
	if !IsTerminal(d.Out) {
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
				show()
			case <-done:
				d.printf("\r%s\r", strings.Repeat(" ", 70))
				return
			}
		}
	}()
	return func() { close(done); <-gone }
}
