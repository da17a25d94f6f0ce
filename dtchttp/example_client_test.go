package dtchttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

// exampleServer stands for `dtc serve` in the examples: a coordinator of two
// participants, of which payment refuses whatever is called "too-expensive".
func exampleServer() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "dtc-example-")
	if err != nil {
		panic(err)
	}
	payment := dtctest.NewMemory("payment")
	payment.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		if b.TxID == "too-expensive" {
			return dtc.VoteAbort, errors.New("the card was declined")
		}
		return dtc.VoteCommit, nil
	}
	c, err := dtc.Open(dir, &dtc.Config{Participants: []dtc.Participant{dtctest.NewMemory("stock"), payment}})
	if err != nil {
		panic(err)
	}
	h := dtchttp.NewControlHandler(nil)
	h.Use(c)
	s := httptest.NewServer(h)
	return s.URL, func() {
		s.Close()
		_ = c.Close()
		_ = os.RemoveAll(dir)
	}
}

// A program runs a transaction at a coordinator that is a server of its own.
func ExampleClient() {
	url, stop := exampleServer()
	defer stop()

	client, err := dtchttp.NewClient(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	for _, id := range []dtc.TxID{"order-1", "too-expensive"} {
		committed, err := client.Execute(context.Background(), id,
			dtc.Branch{Participant: "stock", Payload: []byte(`{"sku":"anvil","take":1}`)},
			dtc.Branch{Participant: "payment", Payload: []byte(`{"cents":1999}`)})
		var rolled *dtc.RollbackError
		switch {
		case committed:
			fmt.Println(id, "committed")
		case errors.As(err, &rolled):
			fmt.Printf("%s rolled back by %s: %s\n", id, rolled.Reason.Participant, rolled.Reason.Message)
		case errors.Is(err, dtc.ErrInDoubt):
			fmt.Println(id, "is not known to have ended: the same call again, with the same id, tells")
		default:
			fmt.Println("nothing was begun:", err)
		}
	}
	// Output:
	// order-1 committed
	// too-expensive rolled back by payment: the card was declined
}

// A transaction grows while the program works, and is rolled back if that fails.
func ExampleClient_Run() {
	url, stop := exampleServer()
	defer stop()
	client, err := dtchttp.NewClient(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	sold := errors.New("the last anvil is sold")
	for _, left := range []int{1, 0} {
		id := dtc.TxID(fmt.Sprintf("with-%d-left", left))
		err := client.Run(context.Background(), id, func(ctx context.Context, tx *dtchttp.ClientTx) error {
			if err := tx.Enlist(ctx, "payment", []byte(`{"cents":1999}`)); err != nil {
				return err
			}
			if left == 0 {
				return sold
			}
			return tx.Enlist(ctx, "stock", []byte(`{"sku":"anvil","take":1}`))
		})
		fmt.Println(id, err == nil, errors.Is(err, dtc.ErrRolledBack), errors.Is(err, sold))
	}
	// Output:
	// with-1-left true false false
	// with-0-left false true true
}
