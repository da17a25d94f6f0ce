package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtctest"
)

// throng is the act with many orders, in separate processes. What is in store for an
// order is drawn as for a [crowd], except that all are served: over HTTP a caller that
// gives up changes nothing.
type throng struct {
	*apart
	list  []shop.Order
	fates *fates
	taken atomic.Int64
	died  chan struct{}  // payment was killed
	back  sync.WaitGroup // until it is back

	mu    sync.Mutex // guards what follows, and told
	load  Load
	sent  map[string]bool // messages that arrived: transaction, service and verb
	late  map[string]bool // transactions that needed more than one commit or rollback
	fails []error
}

func (a *apart) actMany(ctx context.Context) error {
	if a.Orders == 0 {
		return nil
	}
	a.heading(5, fmt.Sprintf("%d orders, %d at a time, and everything goes wrong (seed %d)", a.Orders, callers, a.Seed))
	a.say("Messages are lost, late or come twice, some orders must be refused, payment is killed at half time.")
	c := &throng{
		apart: a, died: make(chan struct{}), sent: map[string]bool{}, late: map[string]bool{},
		load: Load{Seed: a.Seed, Orders: a.Orders, RolledBack: map[string]int{}},
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	began := time.Now()
	a.steps.set(func(call context.Context, e event) dtctest.Fault { return c.stage(ctx, call, e) })
	c.run(ctx)
	err := c.failed(ctx)
	if err == nil {
		err = a.settle(ctx) // with a connection that is still bad
	}
	a.steps.set(a.tellStep)
	if err != nil {
		return err
	}
	c.load.Took = time.Since(began)
	// What is still on its way arrives now, when all is over.
	for _, name := range shop.Names {
		if err := a.post(ctx, name, "/late", "", 0, nil); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for fault, n := range c.fates.injected {
		c.load.inject(fault, n)
	}
	c.load.Recovered = len(c.late)
	a.sum.Load = &c.load
	c.load.print(a.story)
	return nil
}

// prepare makes the orders, and what they need.
func (c *throng) prepare(ctx context.Context) error {
	ids, err := c.numbers(ctx, c.Orders)
	if err != nil {
		return err
	}
	c.list, c.fates = draw(c.Seed, ids)
	c.fates.unserved = 0
	for _, f := range c.fates.of {
		f.unserved = false
	}
	for _, item := range items {
		if err := c.post(ctx, shop.Inventory, "/stock", item, 3*c.Orders, nil); err != nil {
			return err
		}
	}
	for _, customer := range customers {
		if err := c.post(ctx, shop.Payment, "/deposit", customer, 3*c.Orders*shop.Price, nil); err != nil {
			return err
		}
	}
	return nil
}

// stage decides what becomes of a message, while the call lasts.
func (c *throng) stage(ctx, call context.Context, e event) dtctest.Fault {
	f := c.fates.of[e.Tx]
	service := slices.Index(shop.Names, e.Participant)
	if f == nil || service < 0 {
		return dtctest.NoFault
	}
	if e.Kind == called {
		c.afterwards(ctx, e, f)
		return dtctest.NoFault
	}
	c.mu.Lock()
	key := e.Tx + " " + e.Participant + " " + e.Verb
	if c.sent[key] {
		c.load.Retries++
		if e.Verb != string(dtctest.MethodPrepare) {
			c.late[e.Tx] = true
		}
	}
	c.sent[key] = true
	c.mu.Unlock()
	if f.refuser == e.Participant && e.Verb == string(dtctest.MethodPrepare) {
		select {
		case <-f.voted:
		case <-call.Done():
			return dtctest.Drop
		}
	}
	return c.fates.next(service, dtctest.Method(e.Verb), e.Tx)
}

// afterwards takes what a service has done, before it can answer.
func (c *throng) afterwards(ctx context.Context, e event, f *fate) {
	if e.Verb == string(dtctest.MethodPrepare) && e.Vote == "vote_commit" {
		c.mu.Lock()
		f.vote(e.Participant)
		c.mu.Unlock()
	}
	if !f.kills || e.Participant != shop.Payment || e.Verb != string(dtctest.MethodCommit) {
		return
	}
	c.mu.Lock()
	again := c.load.Died > 0 // its commit came again
	c.load.Died = 1
	c.mu.Unlock()
	if again {
		return
	}
	c.apart.mu.Lock()
	victim := c.processes[shop.Payment]
	c.apart.mu.Unlock()
	// After the effect and before the answer: the hardest moment.
	c.note(victim.kill())
	c.back.Go(func() { c.note(c.startService(ctx, shop.Payment, victim.address)) })
	close(c.died)
}

func (c *throng) note(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fails = append(c.fails, err)
	}
}

func (c *throng) failed(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(append(c.fails, ctx.Err())...)
}

// run executes the orders, and returns when every caller has its answer and payment
// is back.
func (c *throng) run(ctx context.Context) {
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
	select {
	case <-c.died: // its order is decided, so it must be told
	case <-ctx.Done():
	case <-time.After(patience):
		c.note(errors.New("payment should have died at half time"))
	}
	c.back.Wait()
}

// one executes an order. Its caller does not wait for phase two.
func (c *throng) one(ctx context.Context, o shop.Order) {
	t, err := c.control.run(ctx, o.ID, wired(o), loadPrepare, atOnce)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.fails = append(c.fails, fmt.Errorf("%s: %w", o.ID, err))
	case t.Committed == nil:
		c.fails = append(c.fails, fmt.Errorf("%s: no outcome is known: it is %s", o.ID, t.State))
	case *t.Committed:
		c.told[o.ID] = true
		c.load.Committed++
	default:
		c.told[o.ID] = false
		reason := "for no reason"
		if t.Reason != nil {
			reason = t.Reason.Code + " by " + t.Reason.Participant
		}
		c.load.RolledBack[reason]++
	}
}

// progress shows on a terminal how far it is, until the function that it returns
// is called.
func (c *throng) progress() (stop func()) {
	return c.ticking(func() {
		c.printf("\r   %d of %d orders ", min(int(c.taken.Load()), len(c.list)), len(c.list))
	})
}
