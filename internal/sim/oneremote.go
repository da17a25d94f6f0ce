package sim

import (
	"context"

	"github.com/dtc-project/dtc"
)

// abilities are what a participant has that commits in one phase.
type abilities struct {
	dtc.OnePhaser
	// proof is what Prove finds, also when nobody could ask.
	proof func(dtc.LogID, dtc.TxID) dtc.XID
	// dropped reports whether evidence may be gone.
	dropped bool
}

const (
	verbOnce   = "one-phase"
	verbSettle = "settle"
	verbProve  = "prove"
)

// onceRemote is a participant that commits in one phase, as a process of the
// coordinator sees it.
type onceRemote struct{ remote }

var _ dtc.OnePhaser = onceRemote{}

// seenBy returns the participant as a process of the coordinator sees it.
func (p *party) seenBy(by *process) dtc.Participant {
	r := remote{p.w, by, p}
	if p.once != nil {
		return onceRemote{r}
	}
	return r
}

// CanOnePhase implements [dtc.OnePhaser].
func (r onceRemote) CanOnePhase(b dtc.Branch) bool { return r.once.CanOnePhase(b) }

// CommitOnePhase implements [dtc.OnePhaser].
func (r onceRemote) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	rep := r.call(ctx, &call{verb: verbOnce, branch: b})
	return rep.vote, rep.err
}

// Settle implements [dtc.OnePhaser].
func (r onceRemote) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	rep := r.call(ctx, &call{verb: verbSettle, branch: b})
	return rep.outcome, rep.err
}

// Prove implements [dtc.OnePhaser].
func (r onceRemote) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	rep := r.call(ctx, &call{verb: verbProve, log: log, branch: dtc.Branch{TxID: id}})
	return rep.xid, rep.err
}
