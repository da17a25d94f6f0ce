package explore

import (
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
)

// run makes moves in a new world, none of which may go wrong.
func run(t *testing.T, r *Rules, moves ...move) *world {
	t.Helper()
	w := newWorld()
	s := step{world: &w, r: r}
	for _, m := range moves {
		if s.make(m); s.wrong != "" {
			t.Fatalf("%s: %s: %s", s.words(m), s.wrong, s.why)
		}
	}
	return &w
}

// committedRemotes are the moves of a transaction that commits at two remote
// participants and is forgotten, its end record not yet synced.
var committedRemotes = []move{
	{what: begin},
	{takePrepare, 0, uint8(protocol.VoteCommit)},
	{voted, 0, uint8(protocol.VoteCommit)},
	{takePrepare, 1, uint8(protocol.VoteCommit)},
	{voted, 1, uint8(protocol.VoteCommit)},
	{what: logSynced},
	{what: takeCommit},
	{what: acked},
	{what: takeCommit, branch: 1},
	{what: acked, branch: 1},
}

// TestVotesLiveInTheLog: the votes stand in the decision, and the log holds that
// until a checkpoint drops it, however soon the transaction is forgotten. If the
// end record is lost, recovery commits again.
func TestVotesLiveInTheLog(t *testing.T) {
	r := &Rules{Kinds: remoteRemote, Crashes: 1, Attempts: 1}
	w := run(t, r, committedRemotes...)
	if w.tx != nil || w.unsynced != 1 {
		t.Fatal("the transaction is not forgotten with its end record unsynced")
	}
	lost := *w
	s := step{world: &lost, r: r}
	s.make(move{what: crash}) // the end record is lost
	s.make(move{what: replayed})
	for i := range r.Kinds {
		if lost.branch[i].vote != protocol.VoteCommit || lost.tx == nil || lost.branch[i].finish != out {
			t.Errorf("the decision is not finished again at %s", s.name(i))
		}
	}
	s.world = w
	s.make(move{what: truncate})
	if w.branch[0].vote != 0 {
		t.Error("the log keeps the votes of a record that it has dropped")
	}
}
