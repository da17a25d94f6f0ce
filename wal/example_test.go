package wal_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// What was forced is read back by the next opening; what was only appended too, if
// the log was closed.
func Example() {
	dir, remove := tempDir()
	defer remove()

	l, err := wal.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	ref := txlog.Ref{Incarnation: 1, Seq: 1}
	fmt.Println(l.Append(&txlog.Prepare{Ref: ref, TxID: "order-1", Branches: []txlog.Branch{{Participant: "bank"}}}))
	fmt.Println(l.Force(&txlog.Abort{Ref: ref}))
	fmt.Println(l.Close())

	l, err = wal.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	err = l.Replay(func(e txlog.Entry) error {
		fmt.Println(e.Record.Kind())
		return nil
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// prepare
	// abort
	// <nil>
}

// A log can be read while a coordinator uses it. Nothing is changed and no lock is
// taken.
func ExampleReader() {
	dir, remove := tempDir()
	defer remove()
	l, err := wal.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	ref := txlog.Ref{Incarnation: 1, Seq: 1}
	if err := errors.Join(
		l.Append(&txlog.Prepare{Ref: ref, TxID: "order-1", Branches: []txlog.Branch{{Participant: "bank"}}}),
		l.Force(&txlog.Abort{Ref: ref}),
	); err != nil {
		log.Fatal(err)
	}

	r, err := wal.OpenReadOnly(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	report, err := r.Verify()
	fmt.Println(report.Records, "records are good:", err)
	err = r.Replay(func(e txlog.Entry) error {
		switch rec := e.Record.(type) {
		case *txlog.Prepare:
			fmt.Println(rec.Ref, "is", rec.TxID, "over", rec.Branches[0].Participant)
		case *txlog.Abort:
			fmt.Println(rec.Ref, "was rolled back")
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 2 records are good: <nil>
	// 1.1 is order-1 over bank
	// 1.1 was rolled back
	// <nil>
}

// What was durable and is not good any more is damage: the log is refused, and left
// as it is. It is never taken for the torn end of a crash.
func ExampleCorruptError() {
	dir, remove := tempDir()
	defer remove()
	l, err := wal.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(l.Force(&txlog.Hold{Through: 1, Reason: "an example"}), l.Close()); err != nil {
		log.Fatal(err)
	}

	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		log.Fatal(err)
	}
	newest := slices.Max(segments)
	content, err := os.ReadFile(newest)
	if err != nil {
		log.Fatal(err)
	}
	content[len(content)-1] ^= 1 // one bit
	if err := os.WriteFile(newest, content, 0o644); err != nil {
		log.Fatal(err)
	}

	_, err = wal.Open(dir, nil)
	var corrupt *wal.CorruptError
	fmt.Println(errors.As(err, &corrupt) && corrupt.File == newest)
	// Output: true
}

func tempDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "wal")
	if err != nil {
		log.Fatal(err)
	}
	return filepath.Join(dir, "log"), func() { os.RemoveAll(dir) }
}
