// Package demo shows what a transaction coordinator is for: orders of a shop over
// three services with a database each, step by step, with everything that can go
// wrong, and a check at the end that nothing did.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
)

// LogDir is where the decision log is, inside the data directory.
const LogDir = "log"

// Options are the demo's settings.
type Options struct {
	Data   string // empty: a temporary directory, removed at the end
	Orders int    // how many more orders are run at once
	Seed   uint64 // of their faults
	// Out gets the story. It is the terminal, or io.Discard.
	Out io.Writer
	// Child are the arguments that make this program run [Child] in a process of
	// its own.
	Child []string
	// ServiceChild and ServeChild are those of [ServiceChild] and of dtc serve as a
	// child, for [RunApart].
	ServiceChild, ServeChild []string
}

// ErrInvariant says that the check at the end has failed.
var ErrInvariant = errors.New("the invariant does not hold")

type demo struct {
	Options
	*story
	dir      string
	services map[string]*shop.Service
	actors   []dtc.Participant // the services as the coordinator meets them
	logFile  *os.File
	c        *dtc.Coordinator // nil between two openings
	sink     atomic.Pointer[func(event)]
	told     map[string]bool // order → whether its caller was told "committed"
	sum      Summary
}

// Run runs the demo. The summary is of use with [ErrInvariant] too.
func Run(ctx context.Context, o Options) (_ *Summary, err error) {
	d := &demo{Options: o, story: newStory(o.Out), services: map[string]*shop.Service{}, told: map[string]bool{}}
	if d.dir, err = makeDir(o.Data); err != nil {
		return nil, err
	}
	if o.Data == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	} else {
		d.sum.Data = d.dir
	}
	d.logFile, err = os.OpenFile(filepath.Join(d.dir, "coordinator.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer d.logFile.Close()
	for _, s := range shop.New(d.dir) {
		d.services[s.ID()] = s
		d.actors = append(d.actors, s)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.play(ctx); err != nil {
		return nil, err
	}
	if err := d.close(); err != nil {
		return nil, err
	}
	sum, err := d.check(ctx)
	if d.lost != nil {
		err = errors.Join(err, fmt.Errorf("tell the story: %w", d.lost))
	}
	return sum, err
}

func makeDir(data string) (string, error) {
	if data == "" {
		return os.MkdirTemp("", "dtc-demo-")
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	return filepath.Abs(data)
}

func (d *demo) play(ctx context.Context) error {
	if err := d.open(ctx); err != nil {
		return err
	}
	if err := d.introduce(ctx); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{
		d.actCommit, d.actOutOfStock, d.actDeadService, d.actKilled, d.actMany,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return d.settle()
}

// open starts the services that are not running and opens a coordinator.
func (d *demo) open(ctx context.Context) error {
	for _, s := range d.services {
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	d.show(d.story.tell)
	c, err := openCoordinator(d.dir, d.actors, d.logFile, func(e event) { (*d.sink.Load())(e) })
	d.c = c
	return err
}

// openCoordinator is what every process of the demo opens.
func openCoordinator(dir string, actors []dtc.Participant, log io.Writer, tell func(event)) (*dtc.Coordinator, error) {
	return dtc.Open(filepath.Join(dir, LogDir), &dtc.Config{
		Participants: actors,
		// Shorter than the defaults: people watch.
		Timing: dtc.Timing{Backoff: 60 * time.Millisecond, FinishBackoffCap: 500 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Trace:  traceTo(tell),
	})
}

// show sends the steps of the protocol somewhere else from now on.
func (d *demo) show(tell func(event)) { d.sink.Store(&tell) }

// close closes the coordinator and stops the services.
func (d *demo) close() error {
	var errs []error
	if d.c != nil {
		errs = append(errs, d.c.Close())
		d.c = nil
	}
	for _, s := range d.services {
		errs = append(errs, s.Stop())
	}
	return errors.Join(errs...)
}

// execute runs an order and tells what its caller was told.
func (d *demo) execute(ctx context.Context, o shop.Order, opts *dtc.TxOptions) (bool, error) {
	ok, err := d.c.ExecuteWith(ctx, o.TxID(), opts, o.Branches()...)
	switch {
	case ok:
		d.told[o.ID] = true
		d.line("caller", "is told", "committed", d.good)
	case errors.Is(err, dtc.ErrRolledBack):
		d.told[o.ID] = false
		var rolled *dtc.RollbackError
		errors.As(err, &rolled)
		d.line("caller", "is told", fmt.Sprintf("rolled back (%s by %s)", rolled.Reason.Code, rolled.Reason.Participant), d.wait)
	default:
		return false, fmt.Errorf("%s: %w", o.ID, err)
	}
	return ok, nil
}

// settle waits until every transaction is finished everywhere.
func (d *demo) settle() error {
	for limit := time.Now().Add(30 * time.Second); d.c.Stats().Unfinished > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			return fmt.Errorf("%d transactions are not finished after 30 s", d.c.Stats().Unfinished)
		}
	}
	return nil
}
