package dtc_test

// The third chapter of the manual: opening a coordinator, its times, its trace.

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// One process at a time owns a log directory. The error says who has it.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "dtc")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	c, err := dtc.Open(dir, nil) // every setting has a default
	if err != nil {
		log.Fatal(err)
	}
	_, err = dtc.Open(dir, nil)
	var inUse *wal.InUseError
	fmt.Println(errors.As(err, &inUse) && inUse.PID == os.Getpid())
	fmt.Println(c.Close())
	// Output:
	// true
	// <nil>
}

// counting counts the forced writes of a log. The log is embedded as it is, so that
// it keeps its other abilities.
type counting struct {
	*wal.Log
	forced atomic.Int64
}

func (l *counting) Force(r txlog.Record) error {
	l.forced.Add(1)
	return l.Log.Force(r)
}

// OpenLog takes a log that was opened with settings of its own, wrapped, or one that
// is not in files at all.
func ExampleOpenLog() {
	dir, err := os.MkdirTemp("", "dtc")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	files, err := wal.Open(dir, &wal.Options{SegmentSize: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	counted := &counting{Log: files}
	c, err := dtc.OpenLog(counted, &dtc.Config{
		Participants: []dtc.Participant{dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close() // closes the log too

	before := counted.forced.Load()
	_, err = c.Execute(context.Background(), "order-60", dtc.Branch{Participant: "payment"})
	fmt.Println(counted.forced.Load()-before, "forced:", err)
	// Output: 2 forced: <nil>
}

// Times are set for the coordinator, for a participant and for a transaction; what
// is closer to the call counts.
func ExampleTiming() {
	tells := func(id string) dtc.Participant {
		return dtc.ParticipantFuncs{ParticipantID: id, PrepareFunc: func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			fmt.Println(b.TxID, "must be voted on within", time.Until(b.Deadline).Round(30*time.Minute))
			return dtc.VoteCommit, nil
		}}
	}
	c, closeLog := openExampleWith(&dtc.Config{
		Participants:      []dtc.Participant{tells("mail"), tells("bank")},
		Timing:            dtc.Timing{PrepareTimeout: 1 * time.Hour},
		ParticipantTiming: map[string]dtc.Timing{"bank": {PrepareTimeout: 2 * time.Hour}},
	})
	defer closeLog()
	ctx := context.Background()

	_, _ = c.Execute(ctx, "usual", dtc.Branch{Participant: "mail"})
	_, _ = c.Execute(ctx, "slow-bank", dtc.Branch{Participant: "bank"})
	_, _ = c.ExecuteWith(ctx, "patient", &dtc.TxOptions{PrepareTimeout: 3 * time.Hour}, dtc.Branch{Participant: "bank"})
	// Output:
	// usual must be voted on within 1h0m0s
	// slow-bank must be voted on within 2h0m0s
	// patient must be voted on within 3h0m0s
}

// Who has not voted when the time is over counts as having refused.
func ExampleTxOptions() {
	c, closeLog := openExample(dtc.ParticipantFuncs{
		ParticipantID: "bank",
		PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			<-ctx.Done() // it never answers
			return dtc.VoteAbort, ctx.Err()
		},
	})
	defer closeLog()

	_, err := c.ExecuteWith(context.Background(), "order-61",
		&dtc.TxOptions{PrepareTimeout: 50 * time.Millisecond}, dtc.Branch{Participant: "bank"})
	var rolledBack *dtc.RollbackError
	if errors.As(err, &rolledBack) {
		fmt.Println(rolledBack.Reason.Code, "by", rolledBack.Reason.Participant)
	}
	// Output: prepare_timeout by bank
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

	_, _ = c.Execute(context.Background(), "order-62", dtc.Branch{Participant: "payment"})
	// Output:
	// append prepare
	// prepare payment
	// forced commit
	// order-62 is committed
	// commit payment
	// append end
}

// When more are in flight than may be, nothing is begun, and the caller can try
// again later. A full disk is answered in the same way.
func ExampleConfig() {
	c, closeLog := openExampleWith(&dtc.Config{
		Participants:    []dtc.Participant{dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: accept}},
		MaxTransactions: 1,
	})
	defer closeLog()
	ctx := context.Background()

	err := c.Run(ctx, "first", func(ctx context.Context, _ *dtc.Tx) error {
		_, err := c.Execute(ctx, "second", dtc.Branch{Participant: "payment"})
		fmt.Println("while the first runs:", errors.Is(err, dtc.ErrFull))
		return nil
	})
	fmt.Println("the first:", err)
	_, err = c.Execute(ctx, "second", dtc.Branch{Participant: "payment"})
	fmt.Println("the second, again:", err)
	// Output:
	// while the first runs: true
	// the first: <nil>
	// the second, again: <nil>
}
