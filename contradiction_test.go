package dtc_test

import (
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// TestContradictionsAreRefused: a log whose records cannot follow one another is not
// interpreted.
func TestContradictionsAreRefused(t *testing.T) {
	ref := txlog.Ref{Incarnation: 1, Seq: 1}
	prepare := &txlog.Prepare{Ref: ref, TxID: "t", Branches: []txlog.Branch{{Participant: "a"}}}
	commit := &txlog.Commit{Ref: ref, Votes: []dtc.Vote{dtc.VoteCommit}}
	abort := &txlog.Abort{Ref: ref, Reason: dtc.Reason{Code: dtc.ReasonVoteAbort}}
	end := &txlog.End{Ref: ref, Outcome: dtc.Committed}
	statement := &txlog.Resolution{Ref: ref, Participant: "a", Outcome: dtc.Committed, Reason: "seen"}
	for _, tt := range []struct {
		name    string
		records []txlog.Record
		want    string // "": it opens
	}{
		{"Sound", []txlog.Record{prepare, commit, statement, end}, ""},
		{"StatementAfterTheEnd", []txlog.Record{prepare, commit, end, statement}, ""},
		{"PreparedTwice", []txlog.Record{prepare, prepare}, "is prepared twice"},
		{"CommitOfNothing", []txlog.Record{commit}, "is not open"},
		{"EndOfNothing", []txlog.Record{end}, "is not open"},
		{"DecidedTwice", []txlog.Record{prepare, abort, commit}, "a second decision"},
		{"TooManyVotes", []txlog.Record{prepare, &txlog.Commit{Ref: ref, Votes: []dtc.Vote{1, 1}}}, "1 branches and 2 votes"},
		{"StatementBeforeTheDecision", []txlog.Record{prepare, statement, abort}, "is not decided"},
		{"BlockOfAnother", []txlog.Record{&txlog.Block{Incarnation: 2, Through: 9}}, "not the current one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := vfs.NewMem()
			log, err := wal.Open("log", &wal.Options{FS: disk, SegmentSize: 16 << 10})
			if err != nil {
				t.Fatal(err)
			}
			first := &txlog.Incarnation{Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Through: 100}
			for _, r := range append([]txlog.Record{first}, tt.records...) {
				if err := log.Force(r); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			c, log, err := tryOpen(disk, &dtc.Config{})
			switch {
			case err == nil && tt.want == "":
				closed(t, c)
			case err == nil:
				_ = c.Close()
				t.Errorf("it opens: %v", log.ID())
			case tt.want == "" || !strings.Contains(err.Error(), tt.want):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
