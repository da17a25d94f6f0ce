package dtc_test

// The examples are the manual. This file is its first chapter: a transaction, what
// its caller is told, and work that grows. The others are
// example_participant_test.go, example_config_test.go and example_operate_test.go.

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

// An id is one request's. The same id with other branches, or with another payload,
// is a mistake of the caller's, and nothing is begun.
func ExampleCoordinator_Execute_conflict() {
	c, closeLog := openExample(dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept})
	defer closeLog()

	_, err := c.Execute(context.Background(), "order-46",
		dtc.Branch{Participant: "payment", Payload: []byte(`{"amount":1999}`)})
	fmt.Println(err)
	_, err = c.Execute(context.Background(), "order-46",
		dtc.Branch{Participant: "payment", Payload: []byte(`{"amount":2999}`)})
	fmt.Println(errors.Is(err, dtc.ErrTxConflict))
	// Output:
	// <nil>
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

	err := c.Run(context.Background(), "order-47", func(ctx context.Context, tx *dtc.Tx) error {
		if err := tx.Enlist("orders", []byte(`{"customer":7}`)); err != nil {
			return err
		}
		return tx.Enlist("mail", nil)
	})
	fmt.Println(err)
	// Output: <nil>
}

// A function that fails rolls everything back, and Run returns its error.
func ExampleCoordinator_Run_rollback() {
	c, closeLog := openExample(dtc.ParticipantFuncs{ParticipantID: "orders", PrepareFunc: accept})
	defer closeLog()

	err := c.Run(context.Background(), "order-48", func(ctx context.Context, tx *dtc.Tx) error {
		if err := tx.Enlist("orders", []byte(`{"customer":7}`)); err != nil {
			return err
		}
		return errOutOfStock
	})
	fmt.Println(errors.Is(err, dtc.ErrRolledBack), errors.Is(err, errOutOfStock))
	// Output: true true
}

// Work may be done for a branch while the function runs, as long as the participant
// keeps it under the transaction's XID. Enlist comes first: what is enlisted is told
// how the transaction ends, whatever happens.
func ExampleTx_Enlist() {
	var mu sync.Mutex
	lines := map[dtc.XID][]string{} // of orders that are not visible yet
	c, closeLog := openExample(dtc.ParticipantFuncs{
		ParticipantID: "orders", PrepareFunc: accept,
		CommitFunc: func(_ context.Context, b dtc.Branch) error {
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(b.TxID, "is", lines[b.XID])
			delete(lines, b.XID)
			return nil
		},
	})
	defer closeLog()

	err := c.Run(context.Background(), "order-49", func(ctx context.Context, tx *dtc.Tx) error {
		if err := tx.Enlist("orders", nil); err != nil {
			return err
		}
		for _, line := range []string{"1 book", "2 pens"} {
			mu.Lock()
			lines[tx.XID()] = append(lines[tx.XID()], line)
			mu.Unlock()
		}
		return tx.Enlist("orders", nil) // once more changes nothing
	})
	fmt.Println(err)
	// Output:
	// order-49 is [1 book 2 pens]
	// <nil>
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
