package wal_test

import (
	"bytes"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// badRecords returns records that no log may take.
func badRecords() []txlog.Record {
	long := strings.Repeat("x", wal.MaxText+1)
	many := protocol.MaxBranches + 1
	return []txlog.Record{
		nil,
		&txlog.Prepare{TxID: long[:protocol.MaxTxID+1]},
		&txlog.Prepare{Branches: make([]txlog.Branch, many)},
		&txlog.Prepare{Branches: []txlog.Branch{{Participant: long[:protocol.MaxParticipantID+1]}}},
		&txlog.Commit{Votes: make([]protocol.Vote, many)},
		&txlog.Commit{Votes: []protocol.Vote{3}},
		&txlog.Abort{Reason: protocol.Reason{Code: protocol.ReasonForced + 1}},
		&txlog.Abort{Reason: protocol.Reason{Participant: long[:protocol.MaxParticipantID+1]}},
		&txlog.Abort{Reason: protocol.Reason{Message: long}},
		&txlog.End{Outcome: protocol.Heuristic + 1},
		&txlog.Resolution{},
		&txlog.Resolution{Outcome: protocol.Heuristic},
		&txlog.Resolution{Outcome: protocol.Committed, Participant: long[:protocol.MaxParticipantID+1]},
		&txlog.Resolution{Outcome: protocol.Committed, Reason: long},
	}
}

func TestCodec(t *testing.T) {
	for _, r := range dtctest.SampleRecords() {
		b, err := wal.AppendRecord(nil, r)
		must(t, err)
		got, err := wal.DecodeRecord(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%v: %+v, %v", r.Kind(), got, err)
		}
		if _, err := wal.DecodeRecord(append(b[:len(b):len(b)], 0)); err == nil {
			t.Errorf("%v: a byte too many is accepted", r.Kind())
		}
		for n := 0; n < len(b); n += 1 + n/100 {
			if _, err := wal.DecodeRecord(b[:n]); err == nil {
				t.Errorf("%v: %d of %d bytes are accepted", r.Kind(), n, len(b))
			}
		}
	}
}

func TestAppendRecordDoesNotAllocate(t *testing.T) {
	b := make([]byte, 0, 1<<17)
	for _, r := range dtctest.SampleRecords() {
		if n := testing.AllocsPerRun(10, func() { _, _ = wal.AppendRecord(b, r) }); n != 0 {
			t.Errorf("%v: %v allocations", r.Kind(), n)
		}
	}
}

func TestDecoderIsStrict(t *testing.T) {
	for what, b := range map[string]string{
		"nothing":            "",
		"unknown kind":       "\x08\x01\x01",
		"kind zero":          "\x00",
		"long number":        "\x02\x80\x00\x01",
		"number over 32 bit": "\x02\x80\x80\x80\x80\x10\x01",
		"vote 3":             "\x04\x01\x01\x01\x03",
		"too many votes":     "\x04\x01\x01\xe9\x07" + strings.Repeat("\x01", 1001),
		"reason 10":          "\x05\x01\x01\x0a\x00\x00",
		"outcome 4":          "\x06\x01\x01\x04",
		"flag 2":             "\x03\x01\x01\x00" + strings.Repeat("\x00", 16) + "\x01\x02\x01a",
		"unresolved":         "\x07\x01\x01\x00\x00\x00",
		"long participant":   "\x05\x01\x01\x01\x41" + strings.Repeat("p", 65) + "\x00",
	} {
		if r, err := wal.DecodeRecord([]byte(b)); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// bounded checks that decoding allocates in proportion to its input, whatever numbers
// that claims. A mebibyte is for what else may run.
func bounded(t testing.TB, size int, decode func()) {
	t.Helper()
	sum := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sum)
	before := sum[0].Value.Uint64()
	decode()
	metrics.Read(sum)
	if got := sum[0].Value.Uint64() - before; got > uint64(1<<20+200*size) {
		t.Errorf("%d bytes allocated for %d bytes of input", got, size)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range dtctest.SampleRecords() {
		b, err := wal.AppendRecord(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r txlog.Record
		var err error
		bounded(t, len(b), func() { r, err = wal.DecodeRecord(b) })
		if err != nil {
			return
		}
		again, err := wal.AppendRecord(nil, r)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes to %+v, which is written as %x (%v)", b, r, again, err)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	samples := dtctest.SampleRecords()
	for i := range samples {
		b, err := wal.EncodeBatch(samples[i:min(i+3, len(samples))])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var records []txlog.Record
		var err error
		bounded(t, len(b), func() {
			err = wal.DecodeBatch(slices.Clone(b), func(r txlog.Record) error {
				records = append(records, r)
				return nil
			})
		})
		if err != nil || len(records) == 0 {
			return
		}
		again, err := wal.EncodeBatch(records)
		if err != nil {
			t.Fatalf("decoded records cannot be written: %v", err)
		}
		var twice []txlog.Record
		err = wal.DecodeBatch(again[:len(again):len(again)], func(r txlog.Record) error {
			twice = append(twice, r)
			return nil
		})
		// The padding of the second batch is taken for payload here.
		if len(twice) != len(records) || !reflect.DeepEqual(twice, records) {
			t.Errorf("%+v became %+v (%v)", records, twice, err)
		}
	})
}

// FuzzRead gives a segment any content: reading it never panics, and what it
// reads has been written by somebody.
func FuzzRead(f *testing.F) {
	for _, n := range []int{0, 1, 5} {
		f.Add(written(f, n).ReadFile(seg1), []byte(nil))
		f.Add(crashed(f, n).ReadFile(seg1)[:1000], written(f, n).ReadFile(dir+"/clean"))
	}
	f.Fuzz(func(t *testing.T, segment, clean []byte) {
		fs := vfs.NewMem()
		must(t, fs.MkdirAll(dir))
		fs.WriteFile(seg1, segment)
		if clean != nil {
			fs.WriteFile(dir+"/clean", clean)
		}
		l, err := open(fs)
		if err != nil {
			if !isRefusal(err) {
				t.Fatal(err)
			}
			return
		}
		must(t, l.Replay(func(txlog.Entry) error { return nil }))
		must(t, l.Close())
	})
}

// TestBoundedFindsWhatItLooksFor: what allocates for what is not there is noticed.
func TestBoundedFindsWhatItLooksFor(t *testing.T) {
	caught := &silent{TB: t}
	bounded(caught, 10, func() { sink = make([]byte, 4<<20) })
	if !caught.failed {
		t.Error("4 MiB for 10 bytes went unnoticed")
	}
}

var sink []byte

// silent notes a failure instead of failing.
type silent struct {
	testing.TB
	failed bool
}

func (s *silent) Helper()               {}
func (s *silent) Errorf(string, ...any) { s.failed = true }
