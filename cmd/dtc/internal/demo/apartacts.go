package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtctest"
)

// atOnce is how long a caller stays for phase two that does not want to.
const atOnce = time.Millisecond

func (a *apart) introduce(ctx context.Context) error {
	before, err := a.control.unfinished(ctx)
	if err != nil {
		return err
	}
	a.unfinished = before // by an earlier run
	if err := errors.Join(
		a.settle(ctx),
		a.post(ctx, shop.Inventory, "/stock", keyboard, firstStock, nil),
		a.post(ctx, shop.Payment, "/deposit", alice, firstMoney, nil),
	); err != nil {
		return err
	}
	if err := a.opening(ctx); err != nil {
		return err
	}
	a.printf("\nA process for each of them, and HTTP between them:\n")
	place := func(c *child) { a.printf("   %-12s pid %-9d http://%s\n", c.name, c.pid(), c.address) }
	for _, name := range shop.Names {
		place(a.processes[name])
	}
	place(a.coordinator)
	return nil
}

// next begins to tell of a new order.
func (a *apart) next(ctx context.Context, quantity int, brief bool) (shop.Order, error) {
	ids, err := a.numbers(ctx, 1)
	if err != nil {
		return shop.Order{}, err
	}
	return a.taken(ids[0], quantity, brief), nil
}

func (a *apart) actCommit(ctx context.Context) error {
	a.heading(1, "An order commits")
	o, err := a.next(ctx, 2, false)
	if err != nil {
		return err
	}
	a.say("%v", o)
	if err := a.expect(ctx, o, true); err != nil {
		return err
	}
	return a.sayBalance(ctx)
}

// expect runs an order that must end as said.
func (a *apart) expect(ctx context.Context, o shop.Order, want bool) error {
	ok, err := a.execute(ctx, o)
	if err != nil {
		return err
	}
	return asPlanned(o, ok, want)
}

func (a *apart) actOutOfStock(ctx context.Context) error {
	a.heading(2, "An order is out of stock: it is rolled back everywhere")
	o, err := a.next(ctx, 12, false)
	if err != nil {
		return err
	}
	a.say("%v", o)
	// Inventory takes its time: the others have promised by then, and have
	// something to undo.
	a.steps.set(func(ctx context.Context, e event) dtctest.Fault {
		if e.Kind == calling && e.Participant == shop.Inventory && e.Verb == string(dtctest.MethodPrepare) {
			a.await("called prepare", 2)
		}
		return a.tellStep(ctx, e)
	})
	defer a.steps.set(a.tellStep)
	if err := a.expect(ctx, o, false); err != nil {
		return err
	}
	return a.sayBalance(ctx)
}

func (a *apart) actDeadService(ctx context.Context) error {
	a.heading(3, "A service is killed after it has promised: retries with back-off until it is back")
	o, err := a.next(ctx, 3, true)
	if err != nil {
		return err
	}
	a.say("%v", o)
	payment := a.processes[shop.Payment]
	died := make(chan error, 1)
	var once sync.Once
	// Its first commit message has come to its door, and goes no further.
	a.steps.set(func(ctx context.Context, e event) dtctest.Fault {
		fault := a.tellStep(ctx, e)
		if e.Participant != shop.Payment || e.Verb != string(dtctest.MethodCommit) {
			return fault
		}
		once.Do(func() {
			err := payment.kill()
			a.line(shop.Payment, "SIGKILL", fmt.Sprintf("pid %d is dead; its promise is in payment.db", payment.pid()), a.bad)
			died <- err
		})
		return dtctest.Drop
	})
	// Who ordered need not wait until payment is back.
	t, err := a.control.run(ctx, o.ID, wired(o), 0, atOnce)
	if err != nil {
		return fmt.Errorf("act 3: %s: %w", o.ID, err)
	}
	ok, err := a.isTold(o, t)
	if err := errors.Join(err, asPlanned(o, ok, true)); err != nil {
		return err
	}
	if err := dead(ctx, died); err != nil {
		return fmt.Errorf("act 3: %w", err)
	}
	a.steps.set(a.tellStep)
	if err := a.watchRetries(ctx, o); err != nil {
		return err
	}
	if err := a.sayBalance(ctx); err != nil {
		return err
	}
	if err := a.startService(ctx, shop.Payment, payment.address); err != nil {
		return err
	}
	a.line(shop.Payment, "IS BACK", fmt.Sprintf("as pid %d it opens payment.db and finds what it promised", a.processes[shop.Payment].pid()), a.good)
	if _, err := a.finished(ctx, o); err != nil {
		return fmt.Errorf("act 3: %w", err)
	}
	return a.sayBalance(ctx)
}

// watchRetries tells of the calls to the dead payment service. Nobody is there to
// tell of them, so the coordinator is asked.
func (a *apart) watchRetries(ctx context.Context, o shop.Order) error {
	const enough = 4
	last := 0
	return poll(ctx, "payment is not called again", func() (bool, error) {
		t, err := a.control.transaction(ctx, o.ID)
		for _, b := range t.Branches {
			if b.Participant != shop.Payment || b.Attempts == last || b.LastError == "" {
				continue
			}
			last = b.Attempts
			e := event{Kind: calling, Tx: o.ID, Participant: shop.Payment, Verb: string(dtctest.MethodCommit), Attempt: last}
			a.story.tell(e)
			e.Kind, e.Error = called, lastWords(b.LastError)
			a.story.tell(e)
		}
		return last >= enough, err
	})
}

// lastWords is the end of an error, which says what happened; before it stands who
// called whom and how.
func lastWords(text string) string {
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

func (a *apart) actKilled(ctx context.Context) error {
	a.heading(4, "The coordinator is killed after its decision, before it tells anybody")
	o, err := a.next(ctx, 1, true)
	if err != nil {
		return err
	}
	a.say("%v", o)
	if err := a.killAfterDecision(ctx, o); err != nil {
		return fmt.Errorf("act 4: %w", err)
	}
	if err := a.autopsy(ctx, o); err != nil {
		return fmt.Errorf("act 4: %w", err)
	}
	// Another process over the same log; what it does is told as it happens.
	a.begin(o, true)
	a.steps.set(a.tellStep)
	a.line("RESTART", "recovery", "a new process reads the log: what is decided has to be finished", a.mark)
	if err := a.startCoordinator(ctx); err != nil {
		return fmt.Errorf("act 4: %w", err)
	}
	t, err := a.finished(ctx, o)
	if err != nil {
		return fmt.Errorf("act 4: %w", err)
	}
	if t.Committed == nil || !*t.Committed {
		return fmt.Errorf("act 4: %s was decided, and is %s", o.ID, t.State)
	}
	a.told[o.ID] = true
	a.line("caller", "asks again", fmt.Sprintf("what became of %s? It is told: committed", o.ID), a.good)
	return a.sayBalance(ctx)
}

// killAfterDecision runs an order and kills the coordinator when its first commit
// message has come to a door. None gets further.
func (a *apart) killAfterDecision(ctx context.Context, o shop.Order) error {
	victim := a.coordinator
	died := make(chan error, 1)
	var once sync.Once
	a.steps.set(func(ctx context.Context, e event) dtctest.Fault {
		if e.Verb != string(dtctest.MethodCommit) || e.Tx != o.ID {
			return a.tellStep(ctx, e)
		}
		once.Do(func() {
			a.decision(e)
			died <- victim.kill()
		})
		return dtctest.Drop
	})
	_, err := a.control.run(ctx, o.ID, wired(o), 0, patience)
	if err == nil {
		return errors.New("the coordinator answered, so it was not killed")
	}
	if died := dead(ctx, died); died != nil {
		return errors.Join(died, err)
	}
	a.sum.Killed = &Killed{PID: victim.pid(), Signal: "SIGKILL"}
	a.line("SIGKILL", fmt.Sprintf("pid %d", victim.pid()), "is dead. Its messages are lost on the way, its caller heard nothing", a.bad)
	return nil
}

// dead waits until a commit message has come, and the process that was to be killed
// then is dead.
func dead(ctx context.Context, died <-chan error) error {
	select {
	case err := <-died:
		return err
	case <-time.After(patience):
		return fmt.Errorf("no commit message came within %v", patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asPlanned is the error of an order that did not end as its act needs it.
func asPlanned(o shop.Order, committed, want bool) error {
	if committed == want {
		return nil
	}
	return fmt.Errorf("%s: committed is %v, but this act is about an order for which it is %v", o.ID, committed, want)
}
