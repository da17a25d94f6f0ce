package dtc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

// The shortest whole program: three participants, a transaction id in, a boolean
// out.
func Example() {
	service := func(id string) dtc.Participant {
		return dtc.ParticipantFuncs{
			ParticipantID: id,
			PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
				return dtc.VoteCommit, nil // reserve what is needed, durably, before saying so
			},
			CommitFunc:   func(ctx context.Context, b dtc.Branch) error { return nil },
			RollbackFunc: func(ctx context.Context, b dtc.Branch) error { return nil },
		}
	}
	dir, err := os.MkdirTemp("", "dtc")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	c, err := dtc.Open(filepath.Join(dir, "log"), &dtc.Config{
		Participants: []dtc.Participant{service("inventory"), service("payment"), service("orders")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	committed, err := c.Execute(context.Background(), "order-42",
		dtc.Branch{Participant: "inventory", Payload: []byte(`{"sku":"book","quantity":1}`)},
		dtc.Branch{Participant: "payment", Payload: []byte(`{"amount":1999}`)},
		dtc.Branch{Participant: "orders", Payload: []byte(`{"customer":7}`)})
	fmt.Println(committed, err)
	// Output: true <nil>
}

// A participant that refuses: everybody is rolled back, and the error says who
// refused and why.
func ExampleRollbackError() {
	c, closeLog := openExample(
		dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept},
		dtc.ParticipantFuncs{ParticipantID: "inventory", PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
			return dtc.VoteAbort, errOutOfStock
		}},
	)
	defer closeLog()

	_, err := c.Execute(context.Background(), "order-43",
		dtc.Branch{Participant: "payment"}, dtc.Branch{Participant: "inventory"})

	var rolledBack *dtc.RollbackError
	if errors.As(err, &rolledBack) {
		fmt.Println(rolledBack.Reason.Code, "by", rolledBack.Reason.Participant)
	}
	fmt.Println(errors.Is(err, errOutOfStock))
	// Output:
	// vote_abort by inventory
	// true
}

// Work that grows: the branches are enlisted while the function runs, and
// committed when it returns nil.
func ExampleCoordinator_Run() {
	c, closeLog := openExample(
		dtc.ParticipantFuncs{ParticipantID: "orders", PrepareFunc: accept},
		dtc.ParticipantFuncs{ParticipantID: "mail", PrepareFunc: accept},
	)
	defer closeLog()

	err := c.Run(context.Background(), "order-44", func(ctx context.Context, tx *dtc.Tx) error {
		if err := tx.Enlist("orders", []byte(`{"customer":7}`)); err != nil {
			return err
		}
		return tx.Enlist("mail", nil)
	})
	fmt.Println(err)
	// Output: <nil>
}

// The same id again gives the same outcome; nothing is run twice. A client that
// never saw the answer just asks again.
func ExampleCoordinator_Execute_repeated() {
	var mu sync.Mutex
	charged := 0
	c, closeLog := openExample(dtc.ParticipantFuncs{
		ParticipantID: "payment", PrepareFunc: accept,
		CommitFunc: func(context.Context, dtc.Branch) error {
			mu.Lock()
			defer mu.Unlock()
			charged++
			return nil
		},
	})
	defer closeLog()

	for range 3 {
		committed, err := c.Execute(context.Background(), "order-45", dtc.Branch{Participant: "payment"})
		fmt.Println(committed, err)
	}
	mu.Lock()
	defer mu.Unlock()
	fmt.Println("charged", charged, "time")
	// Output:
	// true <nil>
	// true <nil>
	// true <nil>
	// charged 1 time
}

// Timeouts are set for the coordinator, for a participant and for a transaction.
func ExampleTiming() {
	slow := dtc.ParticipantFuncs{ParticipantID: "slow", PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
		<-ctx.Done()
		return dtc.VoteAbort, ctx.Err()
	}}
	c, closeLog := openExampleWith(&dtc.Config{
		Participants:      []dtc.Participant{slow},
		Timing:            dtc.Timing{PrepareTimeout: 3 * time.Second},
		ParticipantTiming: map[string]dtc.Timing{"slow": {PrepareTimeout: 2 * time.Second}},
	})
	defer closeLog()

	_, err := c.ExecuteWith(context.Background(), "order-46",
		&dtc.TxOptions{PrepareTimeout: 50 * time.Millisecond}, dtc.Branch{Participant: "slow"})
	var rolledBack *dtc.RollbackError
	if errors.As(err, &rolledBack) {
		fmt.Println(rolledBack.Reason.Code)
	}
	// Output: prepare_timeout
}

// Trace shows each step of the protocol.
func ExampleTrace() {
	c, closeLog := openExampleWith(&dtc.Config{
		Participants: []dtc.Participant{dtc.ParticipantFuncs{
			ParticipantID: "payment", PrepareFunc: accept,
			InDoubtFunc: func(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) { return nil, nil },
		}},
		Trace: &dtc.Trace{
			Appended: func(_ dtc.TraceTx, record string) { fmt.Println("append", record) },
			Forced:   func(_ dtc.TraceTx, record string, _ time.Duration, _ error) { fmt.Println("forced", record) },
			Calling:  func(call dtc.TraceCall) { fmt.Println(call.Verb, call.Participant) },
			Decided:  func(tx dtc.TraceTx, o dtc.Outcome, _ dtc.Reason) { fmt.Println(tx.TxID, "is", o) },
		},
	})
	defer closeLog()

	_, _ = c.Execute(context.Background(), "order-47", dtc.Branch{Participant: "payment"})
	// Output:
	// append prepare
	// prepare payment
	// forced commit
	// order-47 is committed
	// commit payment
	// append end
}

var errOutOfStock = errors.New("out of stock")

func accept(context.Context, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil }

func openExample(list ...dtc.Participant) (*dtc.Coordinator, func()) {
	return openExampleWith(&dtc.Config{Participants: list})
}

func openExampleWith(cfg *dtc.Config) (*dtc.Coordinator, func()) {
	dir, err := os.MkdirTemp("", "dtc")
	if err != nil {
		log.Fatal(err)
	}
	cfg.Logger = quiet
	if cfg.CompletionWait == 0 {
		cfg.CompletionWait = time.Minute // what an example prints must not depend on how busy the machine is
	}
	c, err := dtc.Open(filepath.Join(dir, "log"), cfg)
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
