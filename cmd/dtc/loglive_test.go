package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// busy returns a log that is in use, and what makes it grow by a checkpoint, which takes
// away what there was of files.
func busy(t *testing.T) (dir string, checkpoint func()) {
	t.Helper()
	dir = t.TempDir()
	l, err := wal.Open(dir, &wal.Options{SegmentSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.Replay(func(txlog.Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := l.Force(&txlog.Incarnation{Incarnation: protocol.Incarnation{Number: 1, Nonce: 7}, Through: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	return dir, func() {
		t.Helper()
		old, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil || len(old) == 0 {
			t.Fatal(old, err)
		}
		newest := old[len(old)-1]
		for _, err := os.Stat(newest); err == nil; _, err = os.Stat(newest) {
			seq++
			ref := txlog.Ref{Incarnation: 1, Seq: seq}
			if err := errors.Join(
				l.Append(&txlog.Prepare{Ref: ref, TxID: fmt.Sprintf("order-%d", seq), Branches: []txlog.Branch{{Participant: "bank"}}}),
				l.Append(&txlog.Commit{Ref: ref, Votes: []dtc.Vote{dtc.VoteCommit}}),
				l.Force(&txlog.End{Ref: ref, Outcome: dtc.Committed}),
			); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDoctorBesideCheckpoints: a log that is in use changes while it is looked at, and
// that is no damage.
func TestDoctorBesideCheckpoints(t *testing.T) {
	dir, checkpoint := busy(t)
	checkpoint()
	r, place, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint()
	var e examination
	if err := e.log(r, place, true); err != nil {
		t.Error(err)
	}
	for _, f := range e.findings {
		if f.Level == levelBad {
			t.Errorf("%+v", f)
		}
	}
}

// TestLogReadAgain: what is counted or told of a log that is in use is read once more if
// it has changed meanwhile, and what does not settle is no damage.
func TestLogReadAgain(t *testing.T) {
	dir, checkpoint := busy(t)
	checkpoint()
	r, place, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint()
	looks := 0
	look := func(r *wal.Reader) error {
		looks++
		return r.Replay(func(txlog.Entry) error { return nil })
	}
	if err := steady(r, place, look); err != nil || looks != 2 {
		t.Errorf("%v after %d looks, want none after two", err, looks)
	}
	err = steady(r, place, func(r *wal.Reader) error { looks++; checkpoint(); return look(r) })
	var changed *wal.ChangedError
	if !errors.As(err, &changed) || exitCode(err) != exitFailed || !strings.Contains(err.Error(), "read it again") {
		t.Errorf("%v, exit code %d; want that it has changed, and %d", err, exitCode(err), exitFailed)
	}
}
