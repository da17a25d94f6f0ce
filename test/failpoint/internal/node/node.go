// Package node is what runs in the processes that the tests of package failpoint kill,
// and what these and the tests agree on.
package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/wal"
)

// Services are the participants, each with a database of its own. Plain cannot list what
// it holds in doubt. Once commits in one phase, which it cannot over HTTP: there it is left
// out.
var Services = [...]string{"a", "b", "c", "plain", "once"}

// The numbers of two of them.
const (
	Plain = 3
	Once  = 4
)

// OrdersEnv holds the Orders of a child, as JSON.
const OrdersEnv = "DTC_TEST_FAILPOINT_ORDERS"

// ArmEnv and RecordEnv are those of package failpoint, which has them only in builds
// with its tag.
const (
	ArmEnv    = "DTC_FAILPOINT"
	RecordEnv = "DTC_FAILPOINT_RECORD"
)

// Settled stands in a record of hits where everything was finished that was found, and
// new work began.
const Settled = "# settled"

// Mark writes Settled.
func Mark(record string) {
	if f, err := os.OpenFile(record, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(Settled + "\n")
		_ = f.Close()
	}
}

// Orders say what a child does with its life.
type Orders struct {
	Dir    string
	Life   int
	Serve  []string   // addresses to serve the participants at; nil: embed a coordinator
	Plant  bool       // prepare a branch that no log knows, before anything else
	Settle bool       // finish what is there before new work
	Work   int        // how many transactions to run
	Repeat []dtc.TxID // ids to run again
	Ask    []dtc.TxID // ids to ask for at the end
	Break  string     // a deliberate bug
}

// Main lives until it is killed, or all its orders are carried out.
func Main() int {
	go func() { // whoever would kill us is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var o Orders
	err := json.Unmarshal([]byte(os.Getenv(OrdersEnv)), &o)
	switch {
	case err != nil:
	case o.Serve != nil:
		err = serve(o)
	default:
		err = live(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 2
	}
	return 0
}

// say writes one line in one write, which a kill cannot tear: it is shorter than what
// a pipe takes as a whole.
func say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	_, _ = os.Stdout.WriteString(strings.ReplaceAll(line[:min(len(line), 2000)], "\n", " ") + "\n")
}

// OpenDatabase opens the database of a participant.
func OpenDatabase(dir string, service int) (*sql.DB, error) {
	return oracle.Open(filepath.Join(dir, Services[service]+".db"))
}

// LogDir returns where the log is.
func LogDir(dir string) string { return filepath.Join(dir, "log") }

// node is a coordinator with its participants.
type node struct {
	*dtc.Coordinator
	orders Orders
	cast   *cast
}

func live(o Orders) error {
	c, err := newCast(o)
	if err != nil {
		return err
	}
	defer c.close()
	if o.Plant {
		if err := c.plant(o.Dir, o.Life); err != nil {
			return fmt.Errorf("plant a branch: %w", err)
		}
	}
	n := &node{orders: o, cast: c}
	if err := n.open(); err != nil {
		return err
	}
	stop := n.operate()
	if o.Settle {
		n.settle()
		Mark(os.Getenv(RecordEnv))
		say("settled")
	}
	n.work()
	n.settle()
	stop()
	if err := n.ask(); err != nil {
		return err
	}
	if err := n.Close(); err != nil {
		return err
	}
	say("closed")
	return nil
}

// open opens the log, with segments that are as small as can be: so that a short life
// sees many, and checkpoints.
func (n *node) open() error {
	log, err := wal.Open(LogDir(n.orders.Dir), &wal.Options{SegmentSize: 4 << 10, CheckpointAfter: 2 << 10, OutcomeLimit: remembered})
	if err != nil {
		return err
	}
	n.Coordinator, err = dtc.OpenLog(log, &dtc.Config{
		Participants: n.cast.participants(),
		Timing: dtc.Timing{
			PrepareTimeout: 2 * time.Second, PrepareAttempt: time.Second, FinishAttempt: 2 * time.Second,
			Backoff: 2 * time.Millisecond, FinishBackoffCap: 30 * time.Millisecond,
		},
		ParticipantTiming: map[string]dtc.Timing{
			"c": {PrepareAttempt: 100 * time.Millisecond}, Services[Once]: {PrepareAttempt: 100 * time.Millisecond},
		},
		SweepInterval: 10 * time.Millisecond, // so that a released hold is soon followed by a sweep
		OutcomeLimit:  remembered,
		Logger:        slog.New(alarms{}),
		Trace: &dtc.Trace{
			Hazard: func(c dtc.TraceCall) { say("alarm hazard: %+v", c) },
		},
	})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return nil
}

// remembered is how many outcomes are remembered: fewer than one life has.
const remembered = 40

// settle waits until nothing is left to do.
func (n *node) settle() {
	late := time.Now().Add(10 * time.Second)
	for ; ; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(late) {
			n.complain()
			late = late.Add(time.Hour)
		}
		if _, held := n.Held(); held || n.Stats().Unfinished > 0 {
			continue
		}
		if prepared, err := n.cast.prepared(); err == nil && prepared == 0 && n.Stats().Unfinished == 0 {
			return
		}
	}
}

// complain says what is left when everything should be finished.
func (n *node) complain() {
	prepared, err := n.cast.prepared()
	hold, held := n.Held()
	say("unfinished: %d transactions, %d branches prepared (%v), hold %v %v", n.Stats().Unfinished, prepared, err, held, hold)
	for t := range n.Transactions(dtc.Filter{}) {
		say("unfinished: %+v", t)
	}
	for _, g := range n.cast.guards {
		all, err := g.InDoubt(context.Background(), n.ID())
		for _, b := range all {
			decision, err2 := n.Decision(b.XID, g.ID())
			say("unfinished: %s holds %+v (%v): %v (%v)", g.ID(), b, err, decision, err2)
		}
	}
}

// operate does what an operator would: it ends a hold, and says how a branch ended
// whose participant never will.
func (n *node) operate() (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, held := n.Held(); held {
				if err := n.Release(context.Background(), "compared"); err != nil && !errors.Is(err, dtc.ErrBadRequest) {
					say("alarm release: %v", err)
				}
			}
			for t := range n.Transactions(dtc.Filter{}) {
				switch {
				case FlagOf(t.TxID) == Stuck && t.State == "committing" && n.cast.applied(1, t.XID):
					n.resolve(t.TxID, "b")
				case FlagOf(t.TxID) == Doubt && n.proved(t.TxID):
					n.resolve(t.TxID, Services[Once])
				}
			}
		}
	}()
	return func() { close(over); <-done }
}
