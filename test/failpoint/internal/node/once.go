package node

import (
	"context"
	"errors"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// The flags of transactions that only the participant has which commits in one phase.
const (
	Odd    = "odd"    // it commits, and fails in a way that says nothing
	Broke  = "broke"  // it fails so, and has done nothing
	Unsaid = "unsaid" // it is odd, and the first answer to what became of it is lost too
	Doubt  = "doubt"  // it is odd, and never says that it has committed; an operator does
	Fails  = "fails"  // grown by a function that fails
)

// OnePhase reports whether a transaction commits in one phase.
func OnePhase(id dtc.TxID) bool {
	for i, kind := range oracle.ShapeOf(id) {
		if (kind != oracle.Absent) != (i == Once) {
			return false
		}
	}
	return len(oracle.ShapeOf(id)) == len(Services)
}

// unreliableOnce is the participant that commits in one phase, and does what the flag of a
// transaction says.
type unreliableOnce struct {
	*oracle.Once
	c *cast
}

var errOdd = errors.New("something odd has happened")

func (p *unreliableOnce) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	flag := FlagOf(b.TxID)
	switch flag {
	case Mute:
		<-ctx.Done()
		return dtc.VoteAbort, dtc.NoAnswer(ctx.Err())
	case Broke:
		return dtc.VoteAbort, errOdd
	case Slow: // it commits when the caller has gone
		time.Sleep(30 * time.Millisecond)
		ctx = context.WithoutCancel(ctx)
	case Hung:
		// Longer than anybody waits; then it is refused, because it was settled.
		time.Sleep(160 * time.Millisecond)
		ctx = context.WithoutCancel(ctx)
	}
	vote, err := p.Once.CommitOnePhase(ctx, b)
	switch {
	case err != nil:
	case flag == Lost && p.c.first(b.XID):
		return dtc.VoteAbort, errLost
	case flag == Odd, flag == Unsaid, flag == Doubt:
		return dtc.VoteAbort, errOdd
	}
	return vote, err
}

func (p *unreliableOnce) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	outcome, err := p.Once.Settle(ctx, b)
	flag := FlagOf(b.TxID)
	lost := flag == Unsaid && p.c.first(b.XID) || flag == Doubt && outcome == dtc.Committed
	if err == nil && lost {
		return dtc.OutcomeUnknown, errLost
	}
	return outcome, err
}

// proved reports whether the participant can prove that it has committed an id in one phase.
func (n *node) proved(id dtc.TxID) bool {
	x, err := n.cast.once.Prove(context.Background(), n.ID(), id)
	if err != nil {
		say("alarm prove: %v", err)
	}
	return !x.IsZero()
}

// ask says how transactions ended, and which of them are proved.
func (n *node) ask() error {
	for _, id := range n.orders.Ask {
		info, err := n.Prove(context.Background(), id)
		if err != nil && !errors.Is(err, dtc.ErrUnknownTx) {
			return err
		}
		say("outcome %s %s", id, info.Outcome)
		say("proved %s %v", id, n.proved(id))
	}
	return nil
}

// resolve says that a branch is committed. It may have been acknowledged meanwhile, or in
// an earlier life.
func (n *node) resolve(id dtc.TxID, participant string) {
	err := n.Resolve(context.Background(), id, participant, dtc.Committed, "seen there")
	if err != nil && !errors.Is(err, dtc.ErrUnknownTx) && !errors.Is(err, dtc.ErrBadRequest) {
		say("alarm resolve: %v", err)
	}
}
