package dtctest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// TestLog tests that a decision log keeps the promises of [txlog.Log]. Each
// subtest calls setup for a log of its own, which is still empty, and gets the
// function that opens it: first as new, and after Close as it was left. At most
// one is open at a time.
func TestLog(t *testing.T, setup func(t *testing.T) (open func() (txlog.Log, error))) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, l *logs)
	}{
		{"EveryKind", logEveryKind},
		{"Order", logOrder},
		{"Identity", logIdentity},
		{"ForcedIsThere", logForced},
		{"ClosedIsThere", logClosed},
		{"RecordsAreCopied", logCopies},
		{"ReplayStops", logReplayStops},
		{"ConcurrentForces", logConcurrent},
		{"ClosedRefuses", logRefuses},
		{"ManyOpenings", logManyOpenings},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &logs{t: t, open: setup(t)}) })
	}
}

// SampleRecords returns records of every kind, with empty, common and largest
// fields.
func SampleRecords() []txlog.Record {
	ref := txlog.Ref{Incarnation: 7, Seq: 42}
	last := txlog.Ref{Incarnation: 1<<32 - 1, Seq: 1<<64 - 1}
	longID, longTx := strings.Repeat("p", protocol.MaxParticipantID), strings.Repeat("t", protocol.MaxTxID)
	all := make([]txlog.Branch, protocol.MaxBranches)
	votes := make([]protocol.Vote, protocol.MaxBranches)
	for i := range all {
		all[i] = txlog.Branch{Participant: fmt.Sprintf("%0*d", protocol.MaxParticipantID, i), Plain: i%3 == 0}
		votes[i] = protocol.Vote(i % 3)
	}
	return []txlog.Record{
		&txlog.Incarnation{Incarnation: protocol.Incarnation{Number: 7, Nonce: 0x9f3a10cc}, Through: 1000},
		&txlog.Incarnation{Incarnation: protocol.Incarnation{Number: 1<<32 - 1, Nonce: 1<<32 - 1}, Through: 1<<64 - 1},
		&txlog.Block{Incarnation: 7, Through: 2000},
		&txlog.Block{},
		&txlog.Prepare{Ref: ref, TxID: "order-1", Branches: []txlog.Branch{{Participant: "bank"}, {Participant: "shop", Plain: true}}},
		&txlog.Prepare{Ref: last, TxID: longTx, Fingerprint: [16]byte{0, 1, 2, 15: 255}, Branches: all},
		&txlog.Prepare{Ref: txlog.Ref{Incarnation: 1, Seq: 9}, TxID: "one", OnePhase: true, Branches: []txlog.Branch{{Participant: "bank"}}},
		&txlog.Prepare{TxID: "zażółć-注文", Branches: []txlog.Branch{{Participant: longID}}},
		&txlog.Commit{Ref: ref, Votes: []protocol.Vote{protocol.VoteCommit, protocol.VoteReadOnly}},
		&txlog.Commit{Ref: last, Votes: votes},
		&txlog.Abort{Ref: ref, Reason: protocol.Reason{Code: protocol.ReasonVoteAbort, Participant: "bank", Message: "no money"}},
		&txlog.Abort{Ref: last, Reason: protocol.Reason{Code: protocol.ReasonForced, Participant: longID, Message: "a\x00b\n\xff" + strings.Repeat("m", 4000)}},
		&txlog.Abort{},
		&txlog.End{Ref: ref, Outcome: protocol.Committed},
		&txlog.End{Ref: ref, Outcome: protocol.RolledBack},
		&txlog.End{Ref: last, Outcome: protocol.Heuristic},
		&txlog.Resolution{Ref: ref, Participant: "bank", Outcome: protocol.Committed, Reason: "the bank says so"},
		&txlog.Resolution{Ref: last, Participant: longID, Outcome: protocol.RolledBack},
		&txlog.Hold{Through: 7, Reason: "the files are copies"},
		&txlog.Hold{Through: 1<<32 - 1},
		&txlog.Release{Reason: "every participant was looked at"},
		&txlog.Release{},
	}
}

// logs is one log through its openings.
type logs struct {
	t    *testing.T
	open func() (txlog.Log, error)
}

// reopen opens the log and returns it with what it holds.
func (l *logs) reopen() (txlog.Log, []txlog.Record) {
	l.t.Helper()
	log, err := l.open()
	if err != nil {
		l.t.Fatalf("open: %v", err)
	}
	var records []txlog.Record
	var position uint64
	err = log.Replay(func(e txlog.Entry) error {
		if e.Position < position {
			l.t.Errorf("position %d comes after %d", e.Position, position)
		}
		position = e.Position
		records = append(records, e.Record)
		return nil
	})
	if err != nil {
		l.t.Fatalf("replay: %v", err)
	}
	return log, records
}

func (l *logs) close(log txlog.Log) {
	l.t.Helper()
	if err := log.Close(); err != nil {
		l.t.Fatalf("close: %v", err)
	}
}

// holds closes log, and checks what the next opening finds.
func (l *logs) holds(log txlog.Log, want []txlog.Record) {
	l.t.Helper()
	l.close(log)
	log, got := l.reopen()
	l.close(log)
	if len(got) != len(want) {
		l.t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			l.t.Fatalf("record %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func (l *logs) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func logBlock(i int) *txlog.Block { return &txlog.Block{Incarnation: 1, Through: uint64(i)} }

func logEveryKind(t *testing.T, l *logs) {
	log, found := l.reopen()
	if len(found) != 0 {
		t.Fatalf("a new log holds %d records", len(found))
	}
	kinds := map[txlog.Kind]bool{}
	for i, r := range SampleRecords() {
		kinds[r.Kind()] = true
		if i%2 == 0 {
			l.must(log.Force(r))
		} else {
			l.must(log.Append(r))
		}
	}
	if len(kinds) != 10 { // all but those of a log that compacts itself
		t.Errorf("the samples are of %d kinds", len(kinds))
	}
	l.holds(log, SampleRecords())
}

func logOrder(_ *testing.T, l *logs) {
	log, _ := l.reopen()
	var want []txlog.Record
	for i := range 2000 {
		want = append(want, logBlock(i))
		if i%17 == 0 {
			l.must(log.Force(logBlock(i)))
		} else {
			l.must(log.Append(logBlock(i)))
		}
	}
	l.holds(log, want)
}

func logIdentity(t *testing.T, l *logs) {
	log, _ := l.reopen()
	id := log.ID()
	if id == (protocol.LogID{}) {
		t.Error("the id is zero")
	}
	l.close(log)
	log, _ = l.reopen()
	if log.ID() != id {
		t.Errorf("the id was %v, now it is %v", id, log.ID())
	}
	l.close(log)
}

func logForced(t *testing.T, l *logs) {
	log, _ := l.reopen()
	l.must(log.Append(logBlock(1)))
	l.must(log.Force(logBlock(2)))
	l.holds(log, []txlog.Record{logBlock(1), logBlock(2)})
}

func logClosed(t *testing.T, l *logs) {
	log, _ := l.reopen()
	l.must(log.Append(logBlock(1)))
	l.must(log.Append(logBlock(2)))
	l.holds(log, []txlog.Record{logBlock(1), logBlock(2)})
}

func logCopies(t *testing.T, l *logs) {
	log, _ := l.reopen()
	r := &txlog.Commit{Ref: txlog.Ref{Incarnation: 1}, Votes: []protocol.Vote{protocol.VoteCommit}}
	var want []txlog.Record
	for i := range 100 {
		r.Ref.Seq, r.Votes[0] = uint64(i), protocol.Vote(i%3)
		want = append(want, &txlog.Commit{Ref: r.Ref, Votes: []protocol.Vote{r.Votes[0]}})
		l.must(log.Append(r))
	}
	l.holds(log, want)
}

func logReplayStops(t *testing.T, l *logs) {
	log, _ := l.reopen()
	l.must(log.Append(logBlock(1)))
	l.must(log.Force(logBlock(2)))
	l.close(log)
	log, err := l.open()
	l.must(err)
	enough, calls := errors.New("enough"), 0
	err = log.Replay(func(txlog.Entry) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("replay returned %v after %d calls, want the function's error after 1", err, calls)
	}
	l.close(log)
}

func logConcurrent(t *testing.T, l *logs) {
	const writers, each = 16, 50
	log, _ := l.reopen()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				r := &txlog.Block{Incarnation: uint32(w), Through: uint64(i)}
				var err error
				if i%3 == 0 {
					err = log.Append(r)
				} else {
					err = log.Force(r)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	l.close(log)
	log, found := l.reopen()
	l.close(log)
	next := map[uint32]uint64{}
	for _, r := range found {
		b := r.(*txlog.Block)
		if b.Through != next[b.Incarnation] {
			t.Fatalf("record %d of writer %d comes where %d belongs", b.Through, b.Incarnation, next[b.Incarnation])
		}
		next[b.Incarnation]++
	}
	if len(found) != writers*each {
		t.Errorf("%d records, want %d", len(found), writers*each)
	}
}

func logRefuses(t *testing.T, l *logs) {
	log, _ := l.reopen()
	l.must(log.Force(logBlock(1)))
	l.close(log)
	if err := log.Append(logBlock(2)); !errors.Is(err, txlog.ErrRefused) {
		t.Errorf("append after close: %v, want ErrRefused", err)
	}
	if err := log.Force(logBlock(3)); !errors.Is(err, txlog.ErrRefused) {
		t.Errorf("force after close: %v, want ErrRefused", err)
	}
	log, found := l.reopen()
	if len(found) != 1 {
		t.Errorf("%d records, want 1", len(found))
	}
	l.close(log)
}

func logManyOpenings(t *testing.T, l *logs) {
	for i := range 20 {
		log, found := l.reopen()
		if len(found) != i {
			t.Fatalf("opening %d finds %d records", i, len(found))
		}
		l.must(log.Append(logBlock(i)))
		l.close(log)
	}
}
