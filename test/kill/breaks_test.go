package kill_test

import (
	"context"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// Deliberate bugs, each of which the loop must find: a test that cannot fail
// shows nothing.
const (
	toldTooEarly = "told_too_early" // "committed" is said before Execute returns
	commitLost   = "commit_lost"    // one commit in eight is acknowledged without effect
	voteLost     = "vote_lost"      // one vote in eight is given without being stored
)

// broken returns the guard, with the bug if it is one of a participant. Lost
// commits are those of the plain participant: at another one the sweep would
// find what is still prepared, and the coordinator itself would raise the alarm.
func broken(g *guard.Guard, breakage string) dtc.Participant {
	switch {
	case breakage == commitLost && g.ID() == services[plain]:
		return &losesCommits{g, everyNth(8)}
	case breakage == voteLost:
		return &losesVotes{g, everyNth(8)}
	}
	return g
}

type losesCommits struct {
	*guard.Guard
	now func() bool
}

func (p *losesCommits) Commit(ctx context.Context, b dtc.Branch) error {
	if p.now() {
		return nil
	}
	return p.Guard.Commit(ctx, b)
}

type losesVotes struct {
	*guard.Guard
	now func() bool
}

func (p *losesVotes) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if string(b.Payload) == string(oracle.Payload(oracle.Writes)) && p.now() {
		return dtc.VoteCommit, nil
	}
	return p.Guard.Prepare(ctx, b)
}
