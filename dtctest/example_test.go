package dtctest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// The suite runs as subtests of a test of yours. What it cannot look at it does not
// check: the more fields of the subject are set, the more is tried.
func ExampleTestParticipant() {
	_ = func(t *testing.T) { // func TestPaymentKeepsItsPromises(t *testing.T)
		dtctest.TestParticipant(t, func(*testing.T) dtctest.Subject {
			return dtctest.Subject{
				Participant:  dtctest.NewMemory("payment"), // yours
				PayloadAbort: []byte(`{"amount":1000000}`),
			}
		})
	}
}

// The same for a decision log that keeps its records elsewhere than in files.
func ExampleTestLog() {
	_ = func(t *testing.T) { // func TestLogKeepsItsPromises(t *testing.T)
		dtctest.TestLog(t, func(t *testing.T) func() (txlog.Log, error) {
			dir := t.TempDir()
			return func() (txlog.Log, error) { return wal.Open(dir, nil) } // yours
		})
	}
}

// report takes the place of a test: it remembers whether a check failed.
type report struct{ failed, skipped bool }

type stop struct{}

func (r *report) Helper()               {}
func (r *report) Logf(string, ...any)   {}
func (r *report) Errorf(string, ...any) { r.failed = true }
func (r *report) Fatalf(string, ...any) { r.failed = true; panic(stop{}) }
func (r *report) Skipf(string, ...any)  { r.skipped = true; panic(stop{}) }

func check(p dtctest.Promise, s dtctest.Subject) (r report) {
	defer func() {
		if e := recover(); e != nil && e != any(stop{}) {
			panic(e)
		}
	}()
	p.Check(&r, s)
	return r
}

// forgetful does not write down that it was told to roll back what it never saw: a
// prepare that comes late will hold a branch that nobody finishes.
type forgetful struct{ *dtctest.Memory }

func (p forgetful) Rollback(ctx context.Context, b dtc.Branch) error {
	if p.State(b.XID) == dtctest.Unknown {
		return nil
	}
	return p.Memory.Rollback(ctx, b)
}

// The promises can be checked outside a test too, for example by a service that is
// asked whether it is fit to be registered.
func ExampleParticipantPromises() {
	for _, p := range []dtc.Participant{dtctest.NewMemory("good"), forgetful{dtctest.NewMemory("forgetful")}} {
		broken := 0
		for _, promise := range dtctest.ParticipantPromises() {
			if check(promise, dtctest.Subject{Participant: p}).failed {
				broken++
			}
		}
		fmt.Println(p.ID(), "keeps all promises:", broken == 0)
	}
	// Output:
	// good keeps all promises: true
	// forgetful keeps all promises: false
}

// A Memory is a participant that keeps every promise, for tests of what calls it.
// Its counts are effects: what came twice counts once.
func ExampleMemory() {
	stock := dtctest.NewMemory("stock")
	stock.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		if string(b.Payload) == "unicorn" {
			return dtc.VoteAbort, dtc.Refuse(errors.New("never in stock"))
		}
		return dtc.VoteCommit, nil
	}
	c, done := open(stock)
	defer done()

	for i, item := range []string{"book", "unicorn", "pen"} {
		id := dtc.TxID(fmt.Sprint("order-", i+1))
		committed, _ := c.Execute(context.Background(), id, dtc.Branch{Participant: "stock", Payload: []byte(item)})
		fmt.Println(id, committed)
	}
	n := stock.Counts()
	fmt.Println(n.Committed, "committed,", n.Aborted, "aborted,", len(stock.Prepared()), "in doubt")
	// Output:
	// order-1 true
	// order-2 false
	// order-3 true
	// 2 committed, 1 aborted, 0 in doubt
}

// A script says exactly what goes wrong: here the first prepare never arrives, and
// the answer to the first commit is lost after it had its effect.
func ExampleFlaky_script() {
	stock := dtctest.NewMemory("stock")
	c, done := open(dtctest.NewFlaky(stock, 0, dtctest.Faults{
		Script: func(call dtctest.Call) (dtctest.Fault, bool) {
			if call.Branch.Attempt > 1 {
				return dtctest.NoFault, false
			}
			switch call.Method {
			case dtctest.MethodPrepare:
				return dtctest.Drop, true
			case dtctest.MethodCommit:
				return dtctest.LoseAnswer, true
			case dtctest.MethodRollback, dtctest.MethodInDoubt:
			case dtctest.MethodCommitOnePhase, dtctest.MethodSettle, dtctest.MethodProve:
			}
			return dtctest.NoFault, false
		},
	}))
	defer done()

	committed, err := c.Execute(context.Background(), "order-1", dtc.Branch{Participant: "stock"})
	n := stock.Counts()
	fmt.Println(committed, err)
	fmt.Println(n.Calls, "calls arrived,", n.Committed, "commit had an effect")
	// Output:
	// true <nil>
	// 3 calls arrived, 1 commit had an effect
}

// Chance says how often what goes wrong, from a seed. In the end every branch has
// been finished exactly once, whatever happened on the way.
func ExampleFlaky() {
	stock := dtctest.NewMemory("stock")
	bad := dtctest.NewFlaky(stock, 7, dtctest.Faults{Rate: map[dtctest.Fault]float64{
		dtctest.Drop: 0.1, dtctest.LoseAnswer: 0.1, dtctest.Duplicate: 0.1, dtctest.Late: 0.1,
	}})
	c, done := open(bad)
	defer done()

	committed := 0
	for i := range 50 {
		ok, _ := c.Execute(context.Background(), dtc.TxID(fmt.Sprint("order-", i)), dtc.Branch{Participant: "stock"})
		if ok {
			committed++
		}
	}
	bad.DeliverLate(context.Background()) // what is still on its way arrives when all is over
	fmt.Println("something went wrong:", len(bad.Injected()) > 0)
	fmt.Println("told committed as often as it was:", committed == stock.Counts().Committed)
	fmt.Println("left in doubt:", len(stock.Prepared()))
	// Output:
	// something went wrong: true
	// told committed as often as it was: true
	// left in doubt: 0
}

func open(p dtc.Participant) (c *dtc.Coordinator, done func()) {
	dir, err := os.MkdirTemp("", "dtctest")
	if err != nil {
		log.Fatal(err)
	}
	c, err = dtc.Open(dir, &dtc.Config{
		Participants:   []dtc.Participant{p},
		Timing:         dtc.Timing{Backoff: time.Millisecond, PrepareTimeout: time.Minute, FinishBackoffCap: time.Millisecond},
		CompletionWait: time.Minute, // each is finished before the next begins
		Logger:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	return c, func() {
		if err := c.Close(); err != nil {
			log.Fatal(err)
		}
		os.RemoveAll(dir)
	}
}
