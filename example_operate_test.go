package dtc_test

// The fourth chapter of the manual: what an operator can see and do.

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/dtc-project/dtc"
)

// Outcome tells how a transaction ended. What it does not know it does not guess: an
// unknown id is never "rolled back".
func ExampleCoordinator_Outcome() {
	c, closeLog := openExample(
		dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept},
		dtc.ParticipantFuncs{ParticipantID: "inventory", PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
			return dtc.VoteAbort, errOutOfStock
		}},
	)
	defer closeLog()
	ctx := context.Background()

	_, _ = c.Execute(ctx, "order-70", dtc.Branch{Participant: "payment"})
	_, _ = c.Execute(ctx, "order-71", dtc.Branch{Participant: "payment"}, dtc.Branch{Participant: "inventory"})
	for _, id := range []dtc.TxID{"order-70", "order-71", "order-72"} {
		outcome, err := c.Outcome(ctx, id)
		fmt.Println(id, outcome, errors.Is(err, dtc.ErrUnknownTx))
	}
	// Output:
	// order-70 committed false
	// order-71 rolled_back false
	// order-72 unknown true
}

// Outcomes are remembered for as long, and for as many, as the configuration says.
// RememberedSince tells what an unknown id means: before that time it may be one
// that was forgotten.
func ExampleCoordinator_RememberedSince() {
	c, closeLog := openExampleWith(&dtc.Config{
		Participants: []dtc.Participant{dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept}},
		OutcomeLimit: 1,
	})
	defer closeLog()
	ctx := context.Background()

	for _, id := range []dtc.TxID{"order-73", "order-74"} {
		_, err := c.Execute(ctx, id, dtc.Branch{Participant: "payment"})
		fmt.Println(id, err, "something was forgotten:", !c.RememberedSince().IsZero())
	}
	_, err := c.Outcome(ctx, "order-73")
	fmt.Println(errors.Is(err, dtc.ErrUnknownTx))
	// Output:
	// order-73 <nil> something was forgotten: false
	// order-74 <nil> something was forgotten: true
	// true
}

// remoteBank is a participant that can be down. Then nothing is answered but prepares.
type remoteBank struct {
	down  atomic.Bool
	ended chan string // the outcomes of transactions that are finished everywhere
}

func (b *remoteBank) participant() dtc.Participant {
	return dtc.ParticipantFuncs{
		ParticipantID: "bank", PrepareFunc: accept,
		CommitFunc: func(context.Context, dtc.Branch) error {
			if b.down.Load() {
				return dtc.NoAnswer(errors.New("connection refused"))
			}
			return nil
		},
	}
}

// brokenBank returns a bank that goes down before it can commit, and the
// configuration of its coordinator.
func brokenBank() (*remoteBank, *dtc.Config) {
	b := &remoteBank{ended: make(chan string, 1)}
	b.down.Store(true)
	return b, &dtc.Config{
		Participants:   []dtc.Participant{b.participant()},
		CompletionWait: -1, // the caller of Execute need not wait until the bank is back
		Trace:          &dtc.Trace{Ended: func(tx dtc.TraceTx, o dtc.Outcome) { b.ended <- fmt.Sprint(tx.TxID, " ", o) }},
	}
}

// Transactions shows what is not finished everywhere, and whom it waits for.
func ExampleCoordinator_Transactions() {
	_, cfg := brokenBank()
	c, closeLog := openExampleWith(cfg)
	defer closeLog()

	committed, err := c.Execute(context.Background(), "order-75", dtc.Branch{Participant: "bank"})
	fmt.Println(committed, err)
	for tx := range c.Transactions(dtc.Filter{Participant: "bank"}) {
		fmt.Println(tx.TxID, "is", tx.Outcome, "and", tx.State)
		for _, b := range tx.Branches {
			fmt.Println(b.Participant, "voted", b.Vote, "and is", b.State)
		}
	}
	// Output:
	// true <nil>
	// order-75 is committed and committing
	// bank voted vote_commit and is committing
}

// Retry calls the waiting branches of a transaction now, for an operator who knows
// that the participant is back. Without it they are called when their time comes.
func ExampleCoordinator_Retry() {
	b, cfg := brokenBank()
	c, closeLog := openExampleWith(cfg)
	defer closeLog()
	ctx := context.Background()

	_, _ = c.Execute(ctx, "order-76", dtc.Branch{Participant: "bank"})
	b.down.Store(false)
	_ = c.Retry(ctx, "order-76") // if its time came first: ErrUnknownTx, nothing is left to call
	fmt.Println(<-b.ended)

	err := c.Retry(ctx, "order-76")
	fmt.Println(errors.Is(err, dtc.ErrUnknownTx))
	// Output:
	// order-76 committed
	// true
}

// A participant that will never come back is resolved by hand: the operator states
// how the branch ended, and why he knows. Nothing more is sent to it.
func ExampleCoordinator_Resolve() {
	b, cfg := brokenBank()
	c, closeLog := openExampleWith(cfg)
	defer closeLog()
	ctx := context.Background()

	_, _ = c.Execute(ctx, "order-77", dtc.Branch{Participant: "bank"})
	err := c.Resolve(ctx, "order-77", "bank", dtc.Committed, "bank closed down; booked by letter")
	fmt.Println(err)
	fmt.Println(<-b.ended)
	// Output:
	// <nil>
	// order-77 committed
}

// What a process leaves unfinished is finished by the next one that opens the log.
// Branches whose participant is not registered wait until it is.
func ExampleCoordinator_Register() {
	dir, err := os.MkdirTemp("", "dtc")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, cfg := brokenBank()
	cfg.Logger = quiet
	ctx := context.Background()

	c, err := dtc.Open(dir, cfg)
	if err != nil {
		log.Fatal(err)
	}
	_, _ = c.Execute(ctx, "order-78", dtc.Branch{Participant: "bank"})
	fmt.Println("closed:", c.Close())

	cfg.Participants = nil // not known yet, for example because its address is not
	c, err = dtc.Open(dir, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for tx := range c.Transactions(dtc.Filter{}) {
		fmt.Println(tx.TxID, "is", tx.Outcome, "registered:", tx.Branches[0].Registered)
	}
	b.down.Store(false)
	fmt.Println("registered:", c.Register(b.participant()))
	fmt.Println(<-b.ended)
	// Output:
	// closed: <nil>
	// order-78 is committed registered: false
	// registered: <nil>
	// order-78 committed
}

// Stats are the numbers of the moment, for a health check or for metrics.
func ExampleCoordinator_Stats() {
	_, cfg := brokenBank()
	cfg.Participants = append(cfg.Participants, dtc.ParticipantFuncs{
		ParticipantID: "mail", PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
			return dtc.VoteAbort, dtc.Refuse(errors.New("no such address"))
		},
	})
	c, closeLog := openExampleWith(cfg)
	defer closeLog()
	ctx := context.Background()

	_, _ = c.Execute(ctx, "order-79", dtc.Branch{Participant: "bank"})
	_, _ = c.Execute(ctx, "order-80", dtc.Branch{Participant: "mail"})
	s := c.Stats()
	fmt.Println(s.Begun, "begun,", s.Committed, "committed,", s.RolledBack, "rolled back")
	fmt.Println(s.Unfinished, "unfinished,", s.Remembered, "remembered")
	// Output:
	// 2 begun, 1 committed, 1 rolled back
	// 1 unfinished, 1 remembered
}

// Who restores a log together with its volume holds it: nothing that the log does
// not say is presumed, until somebody has compared the participants with it.
// Everything else goes on.
func ExampleCoordinator_Hold() {
	c, closeLog := openExample(dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept})
	defer closeLog()
	ctx := context.Background()

	fmt.Println(c.Hold(ctx, "the volume is from last night"))
	hold, held := c.Held()
	fmt.Println(held, "because", hold.Reason)
	committed, err := c.Execute(ctx, "order-81", dtc.Branch{Participant: "payment"})
	fmt.Println("new work:", committed, err)
	fmt.Println(c.Release(ctx, "compared all three services, ticket 882"))
	_, held = c.Held()
	fmt.Println(held)
	// Output:
	// <nil>
	// true because the volume is from last night
	// new work: true <nil>
	// <nil>
	// false
}

// A log whose files are copies is held by itself: the original may have said more.
// What it found undecided waits, and nobody is told anything about it.
func ExampleCoordinator_Held() {
	dir, err := os.MkdirTemp("", "dtc")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	original, backup := filepath.Join(dir, "log"), filepath.Join(dir, "backup")
	ctx := context.Background()

	c, err := dtc.Open(original, &dtc.Config{Logger: quiet, Participants: []dtc.Participant{
		dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: func(context.Context, dtc.Branch) (dtc.Vote, error) {
			return dtc.VoteCommit, os.CopyFS(backup, os.DirFS(original)) // at the worst moment
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	committed, err := c.Execute(ctx, "order-82", dtc.Branch{Participant: "payment"})
	fmt.Println("the original says", committed, err)
	fmt.Println("closed:", c.Close())

	c, err = dtc.Open(backup, &dtc.Config{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, held := c.Held()
	_, err = c.Outcome(ctx, "order-82")
	fmt.Println("the copy is held:", held, "and says in doubt:", errors.Is(err, dtc.ErrInDoubt))
	// Output:
	// the original says true <nil>
	// closed: <nil>
	// the copy is held: true and says in doubt: true
}
