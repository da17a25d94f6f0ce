package wal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

// TestLate: how a transaction begins and ends is written with what comes next, or a moment
// later, or when there is much of it; all the rest at once.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustOpen(t, vfs.NewMem())
		_, err := replayed(l)
		must(t, err)
		defer func() { must(t, l.Close()) }()
		synctest.Wait() // the writer is idle
		records, batches := l.Stats().Records, l.Stats().Batches
		written := func(what string, more, in uint64) {
			t.Helper()
			synctest.Wait()
			records, batches = records+more, batches+in
			if s := l.Stats(); s.Records != records || s.Batches != batches {
				t.Fatalf("%s: %d records in %d batches are written; want %d in %d", what, s.Records, s.Batches, records, batches)
			}
		}
		ref := txlog.Ref{Incarnation: 1, Seq: 1}
		prepare := &txlog.Prepare{Ref: ref, TxID: "order-1", Branches: []txlog.Branch{{Participant: "bank"}}}
		end := &txlog.End{Ref: ref, Outcome: protocol.Committed}
		abort := &txlog.Abort{Ref: ref}

		must(t, l.Append(prepare))
		written("a prepare", 0, 0)
		must(t, l.Force(&txlog.Commit{Ref: ref, Votes: []protocol.Vote{protocol.VoteCommit}}))
		written("the decision", 2, 1)
		must(t, l.Append(end))
		written("an end", 0, 0)
		must(t, l.Append(prepare))
		time.Sleep(50 * time.Millisecond)
		written("a moment later", 2, 1)
		must(t, l.Append(abort))
		written("an abort", 1, 1)
		must(t, l.Append(end))
		must(t, l.Append(abort))
		written("an end and an abort", 2, 1)
		once := *prepare
		once.OnePhase = true
		must(t, l.Append(&once))
		written("one phase", 1, 1)
		began := time.Now()
		must(t, l.Force(prepare))
		written("a prepare for which somebody waits", 1, 1)
		if took := time.Since(began); took != 0 {
			t.Errorf("somebody waits for %v", took)
		}
		for range 1000 {
			must(t, l.Append(end))
			synctest.Wait()
		}
		if l.Stats().Records == records {
			t.Error("nothing of many records is written")
		}
	})
}
