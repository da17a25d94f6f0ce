package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

func TestLogVerify(t *testing.T) {
	dir, _ := kept(t)
	for _, place := range []string{dir, filepath.Join(dir, demo.LogDir)} {
		r := call(t, "log", "verify", "--data", place)
		r.want(t, exitDone, "records", "end        position ", "two decoders that share no code: they agree")
		if !strings.HasSuffix(r.out, "\nsound\n") {
			t.Errorf("it does not end with its verdict:\n%s", r.out)
		}
	}
	var v verifyReport
	call(t, "log", "verify", "--data", dir, "-o", "json").decode(t, &v)
	if !v.Sound || !v.Agreed || v.Records == 0 || v.Error != "" {
		t.Errorf("%+v", v)
	}
}

func TestLogCorrupt(t *testing.T) {
	dir, _ := kept(t)
	dir = copyDir(t, dir)
	segments, err := filepath.Glob(filepath.Join(dir, demo.LogDir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	last := segments[len(segments)-1]
	data, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	if err := os.WriteFile(last, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := call(t, "log", "verify", "--data", dir)
	r.want(t, exitCorrupt, last, "damaged at offset ", "What to do", "Restore")
	if strings.Contains(r.out, "sound") {
		t.Errorf("it says sound too:\n%s", r.out)
	}
	r = call(t, "log", "verify", "--data", dir, "-o", "json")
	var v verifyReport
	r.decode(t, &v)
	if r.code != exitCorrupt || v.Sound || !v.Agreed || v.Error == "" {
		t.Errorf("exit code %d, %+v", r.code, v)
	}
	// What is good before the damage is still shown.
	call(t, "log", "dump", "--data", dir).want(t, exitCorrupt, "order-1001", "damaged at offset ")
	call(t, "log", "explain", "order-1001", "--data", dir).want(t, exitCorrupt, "order-1001 was committed everywhere")
	// A coordinator says the same.
	execute(t, "demo", "--data", dir).want(t, exitCorrupt, last)
}

// TestLogContradicts: files that are good to the last byte, and say what cannot be.
func TestLogContradicts(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Force(&txlog.End{Ref: txlog.Ref{Incarnation: 1, Seq: 1}, Outcome: dtc.Committed}); err != nil {
		t.Fatal(err)
	}
	r := call(t, "log", "verify", "--data", dir)
	r.want(t, exitCorrupt, "contradicts the log: the transaction was never prepared")
	if strings.Contains(r.out, "sound") {
		t.Errorf("it says sound too:\n%s", r.out)
	}
	var v verifyReport
	call(t, "log", "verify", "--data", dir, "-o", "json").decode(t, &v)
	if v.Sound || !v.Agreed || v.Error == "" {
		t.Errorf("%+v", v)
	}
}

// TestLogVerifyWhileWriting: a log that grows and is rotated while it is read gives
// no false alarm.
func TestLogVerifyWhileWriting(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Open(dir, &wal.Options{SegmentSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Force(&txlog.Incarnation{Incarnation: dtc.Incarnation{Number: 1}, Through: 1}); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := uint64(1); ; i++ {
			select {
			case <-stop:
				stopped <- log.Close()
				return
			default:
			}
			if err := log.Force(&txlog.Block{Incarnation: 1, Through: i}); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 5 {
		call(t, "log", "verify", "--data", dir).want(t, exitDone, "they agree", "\nsound\n")
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestLogDump(t *testing.T) {
	dir, _ := kept(t)
	r := call(t, "log", "dump", "--data", dir)
	r.want(t, exitDone, "prepare", "inventory=vote_commit payment=vote_commit orders=vote_commit",
		`vote_abort inventory "out of stock: 12 keyboards wanted, 8 left"`)
	count := map[string]int{}
	lines := json.NewDecoder(bytes.NewReader([]byte(call(t, "log", "dump", "--data", dir, "-o", "json").out)))
	for lines.More() {
		var l dumpLine
		if err := lines.Decode(&l); err != nil {
			t.Fatal(err)
		}
		count[l.Kind]++
		switch {
		case l.Time.IsZero():
			t.Errorf("no time: %+v", l)
		case l.Kind == "incarnation":
		case !strings.HasPrefix(l.Tx, "order-100") || !strings.HasPrefix(l.XID, "dtc."):
			t.Errorf("no ids: %+v", l)
		case (l.Kind == "prepare" || l.Kind == "commit") && len(l.Participants) != 3:
			t.Errorf("not three participants: %+v", l)
		}
	}
	if count["prepare"] != 4 || count["commit"] != 3 || count["abort"] != 1 || count["end"] != 4 || count["incarnation"] != 3 {
		t.Errorf("records: %v", count)
	}
	if n := strings.Count(r.out, "\n"); n != 15 {
		t.Errorf("%d lines for 15 records:\n%s", n, r.out)
	}
}

func TestLogExplain(t *testing.T) {
	dir, _ := kept(t)
	call(t, "log", "explain", "order-1001", "--data", dir).want(t, exitDone,
		"order-1001 was committed everywhere", "inventory, payment and orders were asked to prepare",
		"votes: inventory vote_commit", "decided: commit", "ended")
	call(t, "log", "explain", "order-1002", "--data", dir).want(t, exitDone,
		"order-1002 was rolled back everywhere", "because vote_abort by inventory: out of stock")
	call(t, "log", "explain", "order-9", "--data", dir).want(t, exitFailed, `no transaction "order-9"`)
}

// TestLogExplainInDoubt reads logs as a dead coordinator leaves them, and beside
// one that runs.
func TestLogExplainInDoubt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), demo.LogDir)
	log, err := wal.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	add := func(r txlog.Record) {
		t.Helper()
		if err := log.Force(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Replay(func(txlog.Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	prepare := func(seq uint64, id string) txlog.Ref {
		t.Helper()
		ref := txlog.Ref{Incarnation: 1, Seq: seq}
		add(&txlog.Prepare{Ref: ref, TxID: id, Branches: []txlog.Branch{{Participant: "a"}, {Participant: "b", Plain: true}}})
		return ref
	}
	add(&txlog.Incarnation{Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Through: 100})
	prepare(1, "asked")
	add(&txlog.Commit{Ref: prepare(2, "told"), Votes: []dtc.Vote{dtc.VoteCommit, dtc.VoteReadOnly}})
	add(&txlog.Abort{Ref: prepare(3, "undone"), Reason: dtc.Reason{Code: dtc.ReasonPrepareTimeout, Participant: "b", Message: "too slow"}})

	call(t, "log", "explain", "asked", "--data", dir).want(t, exitDone, "asked is in doubt", "a and b were asked", "the next start rolls it back")
	call(t, "log", "explain", "told", "--data", dir).want(t, exitDone, "told is committed, and not finished everywhere", "b read_only", "commit goes to a until")
	call(t, "log", "explain", "undone", "--data", dir).want(t, exitDone, "undone is rolled back, and not finished", "prepare_timeout by b: too slow")
	once := &txlog.Prepare{Ref: txlog.Ref{Incarnation: 1, Seq: 4}, TxID: "once", OnePhase: true, Branches: []txlog.Branch{{Participant: "a"}}}
	add(once)
	call(t, "log", "explain", "once", "--data", dir).want(t, exitDone, "once is in doubt", "a was asked to commit in one phase", "a decides")
	add(&txlog.End{Ref: once.Ref, Outcome: dtc.Committed})
	call(t, "log", "explain", "once", "--data", dir).want(t, exitDone, "once was committed everywhere")
	add(&txlog.Incarnation{Incarnation: dtc.Incarnation{Number: 2, Nonce: 8}, Through: 100})
	call(t, "log", "explain", "asked", "--data", dir).want(t, exitDone, "stopped before it decided")

	x := dtc.XID{Log: log.ID(), Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Seq: 2}
	call(t, "log", "explain", x.String(), "--data", dir).want(t, exitDone, "told is committed")
	call(t, "log", "verify", "--data", dir).want(t, exitDone, "sound", "a coordinator is using it")

	var s statReport
	call(t, "log", "stat", "--data", dir, "-o", "json").decode(t, &s)
	if want := []statParticipant{{"a", 3}, {"b", 2}}; s.Unfinished != 3 || s.InDoubt != 1 || !slices.Equal(s.Participants, want) {
		t.Errorf("b has nothing to do in told, for which it voted read_only: %+v", s)
	}
	add(&txlog.Resolution{Ref: txlog.Ref{Incarnation: 1, Seq: 3}, Participant: "b", Outcome: dtc.RolledBack, Reason: "seen"})
	call(t, "log", "stat", "--data", dir).want(t, exitDone, "at a: 3", "at b: 1")
	call(t, "log", "explain", "undone", "--data", dir).want(t, exitDone, "an operator stated", "rollback goes to a until")
	add(&txlog.Hold{Through: 1, Reason: "restored"})
	call(t, "log", "explain", "asked", "--data", dir).want(t, exitDone, "a recovery hold covers it")
	call(t, "log", "explain", "told", "--data", dir).want(t, exitDone, "commit goes to a until")
	add(&txlog.Release{Reason: "compared"})
	call(t, "log", "explain", "asked", "--data", dir).want(t, exitDone, "stopped before it decided")
}

func TestNoLog(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, text := range map[string]string{
		empty:                        "there is no decision log in ",
		filepath.Join(empty, "nope"): "does not exist",
		file:                         "is not a directory",
	} {
		for _, verb := range [][]string{{"verify"}, {"dump"}, {"explain", "t"}} {
			r := call(t, append(append([]string{"log"}, verb...), "--data", dir)...)
			r.want(t, exitFailed, text, "--data names the directory")
		}
	}
	if list, err := os.ReadDir(empty); err != nil || len(list) != 1 {
		t.Errorf("the directory was changed: %v, %v", list, err)
	}
}
