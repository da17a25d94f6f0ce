package dtc_test

// The second chapter of the manual: what a participant can say, and what it can be.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
)

// A participant that had only to look votes read-only. It holds nothing, and hears
// no more of the transaction.
func ExampleVote() {
	calls := func(call dtc.TraceCall) { fmt.Println(call.Verb, call.Participant) }
	c, closeLog := openExampleWith(&dtc.Config{
		Participants: []dtc.Participant{
			dtc.ParticipantFuncs{
				ParticipantID: "prices",
				PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
					return dtc.VoteReadOnly, nil // the price is still what the customer saw
				},
			},
		},
		Trace: &dtc.Trace{Calling: calls},
	})
	defer closeLog()

	committed, err := c.Execute(context.Background(), "order-50", dtc.Branch{Participant: "prices"})
	fmt.Println(committed, err)
	// Output:
	// prepare prices
	// true <nil>
}

// An error of Prepare aborts the transaction. The function may have left something
// behind, so the branch is rolled back; with Refuse the participant says that it has
// not, and is spared the call.
func ExampleRefuse() {
	for _, reason := range []error{errOutOfStock, dtc.Refuse(errOutOfStock)} {
		c, closeLog := openExampleWith(&dtc.Config{
			Participants: []dtc.Participant{dtc.ParticipantFuncs{
				ParticipantID: "inventory",
				PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
					return dtc.VoteAbort, reason
				},
			}},
			Trace: &dtc.Trace{Calling: func(call dtc.TraceCall) { fmt.Println(call.Verb, call.Participant) }},
		})
		_, err := c.Execute(context.Background(), "order-51", dtc.Branch{Participant: "inventory"})
		fmt.Println("refused because it is out of stock:", errors.Is(err, errOutOfStock))
		closeLog()
	}
	// Output:
	// prepare inventory
	// rollback inventory
	// refused because it is out of stock: true
	// prepare inventory
	// refused because it is out of stock: true
}

// An error that is no vote is wrapped with NoAnswer: the call is repeated until the
// prepare timeout. Network errors and ended contexts need no wrapping.
func ExampleNoAnswer() {
	c, closeLog := openExample(dtc.ParticipantFuncs{
		ParticipantID: "payment",
		PrepareFunc: func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			if b.Attempt == 1 {
				return dtc.VoteAbort, dtc.NoAnswer(errors.New("the bank is busy"))
			}
			fmt.Println("voted at attempt", b.Attempt)
			return dtc.VoteCommit, nil
		},
	})
	defer closeLog()

	committed, err := c.Execute(context.Background(), "order-52", dtc.Branch{Participant: "payment"})
	fmt.Println(committed, err)
	// Output:
	// voted at attempt 2
	// true <nil>
}

// A participant that finished a branch on its own, against the decision, says so
// with a FinishedError. Nobody hides it: the outcome is heuristic, and an operator
// has to look.
func ExampleFinishedError() {
	hazard := make(chan dtc.TraceCall, 1) // somebody should be called out of bed for these
	c, closeLog := openExampleWith(&dtc.Config{
		Participants: []dtc.Participant{
			dtc.ParticipantFuncs{ParticipantID: "orders", PrepareFunc: accept},
			dtc.ParticipantFuncs{
				ParticipantID: "payment", PrepareFunc: accept,
				CommitFunc: func(context.Context, dtc.Branch) error {
					return &dtc.FinishedError{Outcome: dtc.RolledBack} // the hold was freed by hand
				},
			},
		},
		Trace:          &dtc.Trace{Hazard: func(call dtc.TraceCall) { hazard <- call }},
		CompletionWait: -1, // the decision is told at once; what follows is not waited for
	})
	defer closeLog()
	ctx, branches := context.Background(), []dtc.Branch{{Participant: "orders"}, {Participant: "payment"}}

	_, _ = c.Execute(ctx, "order-53", branches...)
	fmt.Println("hazard at", (<-hazard).Participant)

	_, err := c.Execute(ctx, "order-53", branches...)
	var torn *dtc.HeuristicError
	if errors.As(err, &torn) {
		fmt.Println("decided", torn.Decision, "but not at", torn.Participants)
	}

	// It stays in sight until somebody has taken note of it.
	err = c.Resolve(ctx, "order-53", "payment", dtc.RolledBack, "charged again by hand, ticket 881")
	fmt.Println("resolved:", err)
	outcome, err := c.Outcome(ctx, "order-53")
	fmt.Println(outcome, err)
	// Output:
	// hazard at payment
	// decided committed but not at [payment]
	// resolved: <nil>
	// heuristic <nil>
}

// A participant that can list what it holds in doubt saves a forced write: a prepare
// record that a power failure took is found again through the listing.
func ExampleLister() {
	plain := dtc.ParticipantFuncs{ParticipantID: "plain", PrepareFunc: accept}
	listing := dtc.ParticipantFuncs{
		ParticipantID: "listing", PrepareFunc: accept,
		InDoubtFunc: func(_ context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
			return nil, nil // SELECT xid, prepared_at FROM branch WHERE log = $1 AND state = 'prepared'
		},
	}
	c, closeLog := openExampleWith(&dtc.Config{
		Participants: []dtc.Participant{plain, listing},
		Trace: &dtc.Trace{Forced: func(tx dtc.TraceTx, record string, _ time.Duration, _ error) {
			fmt.Println(tx.TxID, "forced", record)
		}},
	})
	defer closeLog()

	for _, id := range []string{"plain", "listing"} {
		if _, err := c.Execute(context.Background(), dtc.TxID("over-"+id), dtc.Branch{Participant: id}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// over-plain forced prepare
	// over-plain forced commit
	// over-listing forced commit
}

// stock keeps a number in memory: its methods never wait, and it says so.
type stock struct{ dtc.Participant }

func (stock) NonBlocking() bool { return true }

var _ dtc.NonBlocking = stock{}

// A participant whose methods never wait is called on the goroutine of the
// transaction: no goroutine and no timer is spent on it.
func ExampleNonBlocking() {
	c, closeLog := openExample(
		stock{dtc.ParticipantFuncs{ParticipantID: "stock", PrepareFunc: accept}},
		dtc.ParticipantFuncs{ParticipantID: "cart", PrepareFunc: accept, NeverBlocks: true}, // the same in short
	)
	defer closeLog()

	committed, err := c.Execute(context.Background(), "order-54",
		dtc.Branch{Participant: "stock"}, dtc.Branch{Participant: "cart"})
	fmt.Println(committed, err)
	// Output: true <nil>
}
