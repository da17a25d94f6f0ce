package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

// apart is the demo with a process for each service and one for the coordinator,
// and HTTP between them.
type apart struct {
	*demo
	steps       *steps
	control     control
	processes   map[string]*child // services by name
	coordinator *child

	mu    sync.Mutex
	heard map[string]bool // transaction and verb of messages that arrived
}

// RunApart runs the demo in separate processes. The summary is of use with
// [ErrInvariant] too.
func RunApart(ctx context.Context, o Options) (_ *Summary, err error) {
	d := &demo{Options: o, story: newStory(o.Out), told: map[string]bool{}}
	if d.dir, err = makeDir(o.Data); err != nil {
		return nil, err
	}
	if o.Data == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	} else {
		d.sum.Data = d.dir
	}
	a := &apart{
		demo: d, processes: map[string]*child{}, heard: map[string]bool{},
		control: control{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}},
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if a.steps, err = newSteps(); err != nil {
		return nil, err
	}
	if err := a.play(ctx); err != nil {
		return nil, err
	}
	if err := a.close(); err != nil { // nobody has the files open any more
		return nil, err
	}
	sum, err := d.check(ctx)
	if d.lost != nil {
		err = errors.Join(err, fmt.Errorf("tell the story: %w", d.lost))
	}
	return sum, err
}

func (a *apart) play(ctx context.Context) error {
	a.steps.set(a.tellStep)
	for _, name := range shop.Names {
		if err := a.startService(ctx, name, "127.0.0.1:0"); err != nil {
			return err
		}
	}
	if err := a.startCoordinator(ctx); err != nil {
		return err
	}
	if err := a.introduce(ctx); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{
		a.actCommit, a.actOutOfStock, a.actDeadService, a.actKilled, a.actMany,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return a.settle(ctx)
}

func (a *apart) startService(ctx context.Context, name, address string) error {
	c, err := startChild(ctx, a.dir, name, append(a.ServiceChild, a.dir, name, address, a.steps.address)...)
	if err == nil {
		a.mu.Lock()
		a.processes[name] = c
		a.mu.Unlock()
	}
	return err
}

// startCoordinator starts dtc serve, and waits until it is ready.
func (a *apart) startCoordinator(ctx context.Context) (err error) {
	args := append([]string{}, a.ServeChild...)
	args = append(args, "--data", filepath.Join(a.dir, LogDir), "--listen", "127.0.0.1:0")
	for _, name := range shop.Names {
		args = append(args, "--participant", name+"=http://"+a.processes[name].address+"/dtc")
	}
	if a.coordinator, err = startChild(ctx, a.dir, "coordinator", args...); err != nil {
		return err
	}
	a.control.base = "http://" + a.coordinator.address
	return a.control.ready(ctx)
}

// close ends all processes: the coordinator first, which then has nobody to call.
func (a *apart) close() error {
	errs := []error{a.coordinator.stop()}
	a.coordinator = nil
	for name, c := range a.processes {
		errs = append(errs, c.stop())
		delete(a.processes, name)
	}
	if a.steps != nil {
		errs = append(errs, a.steps.close())
		a.steps = nil
	}
	a.control.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// tellStep is what happens when nothing special does: it is told.
func (a *apart) tellStep(_ context.Context, e event) dtctest.Fault {
	if e.Kind == calling {
		a.decision(e)
	}
	a.story.tell(e)
	return dtctest.NoFault
}

// decision tells of the coordinator's decision when its first message arrives. What a
// process does by itself is known by what follows from it.
func (a *apart) decision(e event) {
	a.mu.Lock()
	first := !a.heard[e.Tx+" "+e.Verb]
	a.heard[e.Tx+" "+e.Verb] = true
	a.mu.Unlock()
	switch {
	case !first:
	case e.Verb == string(dtctest.MethodCommit):
		a.story.tell(event{Kind: forced, Tx: e.Tx, Record: "commit"})
	case e.Verb == string(dtctest.MethodRollback):
		a.story.tell(event{Kind: appended, Tx: e.Tx, Record: "abort"})
	}
}

// post calls what a service offers besides.
func (a *apart) post(ctx context.Context, service, path, of string, n int, out any) error {
	c := control{base: "http://" + a.processes[service].address, client: a.control.client}
	query := url.Values{"of": {of}, "n": {strconv.Itoa(n)}}
	return c.do(ctx, http.MethodPost, path+"?"+query.Encode(), nil, out)
}

func (a *apart) numbers(ctx context.Context, n int) (ids []string, err error) {
	err = a.post(ctx, shop.Orders, "/numbers", "", n, &ids)
	return ids, err
}

// execute runs an order and tells what its caller was told.
func (a *apart) execute(ctx context.Context, o shop.Order) (bool, error) {
	t, err := a.control.run(ctx, o.ID, wired(o), 0, patience)
	if err != nil {
		return false, fmt.Errorf("%s: %w", o.ID, err)
	}
	return a.isTold(o, t)
}

// isTold notes and tells what a caller was told.
func (a *apart) isTold(o shop.Order, t dtchttp.Transaction) (bool, error) {
	if t.Committed == nil {
		return false, fmt.Errorf("%s: no outcome is known: it is %s", o.ID, t.State)
	}
	a.told[o.ID] = *t.Committed
	if *t.Committed {
		a.line("caller", "is told", dtc.Committed.String(), a.good)
		return true, nil
	}
	why := ""
	if t.Reason != nil {
		why = fmt.Sprintf(" (%s by %s)", t.Reason.Code, t.Reason.Participant)
	}
	a.line("caller", "is told", "rolled back"+why, a.wait)
	return false, nil
}

func wired(o shop.Order) (list []wireBranch) {
	for _, b := range o.Branches() {
		list = append(list, wireBranch{b.Participant, json.RawMessage(b.Payload)})
	}
	return list
}

// settle waits until every transaction is finished everywhere.
func (a *apart) settle(ctx context.Context) error {
	return poll(ctx, "transactions are not finished", func() (bool, error) {
		n, err := a.control.unfinished(ctx)
		return n == 0, err
	})
}

// finished waits until one is.
func (a *apart) finished(ctx context.Context, o shop.Order) (t dtchttp.Transaction, err error) {
	err = poll(ctx, o.ID+" is not finished", func() (bool, error) {
		t, err = a.control.transaction(ctx, o.ID)
		return t.Ended != nil, err
	})
	return t, err
}
