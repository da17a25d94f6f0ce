package txlog_test

import (
	"fmt"
	"log"
	"os"
	"sync/atomic"

	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// counted is a log around another: it counts what is waited for. Whoever wraps a
// log hands on its other abilities too; embedding the *wal.Log does.
type counted struct {
	*wal.Log
	forces atomic.Int64
}

func (l *counted) Force(r txlog.Record) error {
	l.forces.Add(1)
	return l.Log.Force(r)
}

var (
	_ txlog.Log    = (*counted)(nil)
	_ txlog.Roomer = (*counted)(nil)
	_ txlog.Failer = (*counted)(nil)
)

// Log is what a coordinator writes through; dtc.OpenLog takes any.
func ExampleLog() {
	dir, err := os.MkdirTemp("", "txlog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	files, err := wal.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	l := &counted{Log: files}
	defer l.Close()

	ref := txlog.Ref{Incarnation: 1, Seq: 1}
	for _, err := range []error{
		l.Append(&txlog.Prepare{Ref: ref, TxID: "order-1", Branches: []txlog.Branch{{Participant: "bank"}}}),
		l.Force(&txlog.Abort{Ref: ref}),
		l.Append(&txlog.End{Ref: ref}),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("forced:", l.forces.Load())
	// Output: forced: 1
}

// A short id is its own key, and a longer one is hashed: so outcomes take little
// room, and a log can be searched for an id.
func ExampleKeyOf() {
	key := txlog.KeyOf("order-1")
	fmt.Printf("%s\n", key[:7])
	fmt.Println(key == txlog.KeyOf("order-1"), key == txlog.KeyOf("order-2"))
	// Output:
	// order-1
	// true false
}
