package wal_test

import (
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

const (
	dir  = "/log"
	seg1 = dir + "/00000001.seg"
	seg2 = dir + "/00000002.seg"
	seg3 = dir + "/00000003.seg"
)

func open(fs vfs.FS) (*wal.Log, error) {
	return wal.Open(dir, &wal.Options{SegmentSize: 4096, FS: fs, CheckpointAfter: -1})
}

func mustOpen(t testing.TB, fs vfs.FS) *wal.Log {
	t.Helper()
	l, err := open(fs)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record returns the i-th record of a history, of varying size.
func record(i int) txlog.Record {
	ref := txlog.Ref{Incarnation: 1, Seq: uint64(i)}
	if i%5 == 0 {
		return &txlog.Abort{Ref: ref, Reason: protocol.Reason{Message: strings.Repeat("m", i*37%400)}}
	}
	return &txlog.End{Ref: ref, Outcome: protocol.Committed}
}

// numberOf is the inverse of record.
func numberOf(r txlog.Record) (int, error) {
	var ref txlog.Ref
	switch r := r.(type) {
	case *txlog.Abort:
		ref = r.Ref
	case *txlog.End:
		ref = r.Ref
	}
	if i := int(ref.Seq); reflect.DeepEqual(r, record(i)) {
		return i, nil
	}
	return 0, fmt.Errorf("%+v was never written", r)
}

// replayed returns how many records the log holds, which are record(0) and so on.
func replayed(l interface {
	Replay(func(txlog.Entry) error) error
},
) (n int, err error) {
	err = l.Replay(func(e txlog.Entry) error {
		i, err := numberOf(e.Record)
		if err == nil && i != n {
			err = fmt.Errorf("record %d comes where %d belongs", i, n)
		}
		n++
		return err
	})
	return n, err
}

// recovered opens the log on fs, and returns it with the number of its records.
func recovered(t testing.TB, fs *vfs.Mem) (*wal.Log, int) {
	t.Helper()
	agree(t, fs)
	l := mustOpen(t, fs)
	n, err := replayed(l)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, fs)
	return l, n
}

// written returns a file system with a cleanly closed log of n records.
func written(t testing.TB, n int) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	for i := range n {
		must(t, l.Force(record(i)))
	}
	must(t, l.Close())
	agree(t, fs)
	return fs
}

// crashed is the same without the Close.
func crashed(t testing.TB, n int) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem()
	l := mustOpen(t, fs)
	for i := range n {
		must(t, l.Force(record(i)))
	}
	after := fs.Kill()
	must(t, l.Close())
	return after
}

// refuses checks that Open returns an error of type E, and changes nothing.
func refuses[E error](t *testing.T, fs *vfs.Mem) (err E) {
	t.Helper()
	before := fs.Kill()
	agree(t, fs)
	l, got := open(fs)
	if got == nil {
		l.Close()
		t.Fatalf("the log opens, want %T", err)
	}
	if !errors.As(got, &err) {
		t.Fatalf("%v (%T), want %T", got, got, err)
	}
	for _, path := range before.Files() {
		if !reflect.DeepEqual(before.ReadFile(path), fs.ReadFile(path)) {
			t.Fatalf("the refused opening changed %s", path)
		}
	}
	return err
}

func seeded(t testing.TB, seed int64) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewSource(seed))
}
