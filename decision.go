package dtc

import (
	"fmt"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// Decision is the answer to a participant that asks what became of a branch. Its
// String is "ask_later", "undecided", "commit" or "rollback".
type Decision uint8

// The answers. Only DecidedCommit and DecidedRollback may be acted on.
const (
	// AskLater: this coordinator cannot say, now or at all.
	AskLater Decision = iota
	// Undecided: the transaction runs; the coordinator will tell.
	Undecided
	DecidedCommit
	DecidedRollback
)

var decisionNames = [...]string{"ask_later", "undecided", "commit", "rollback"}

// String returns the word used on the wire.
func (d Decision) String() string {
	if int(d) < len(decisionNames) {
		return decisionNames[d]
	}
	return fmt.Sprintf("decision %d", uint8(d))
}

// Decision answers a participant that asks about a branch it holds. It reads nothing
// but what is durable or needs no durability, and does not wait.
//
// A transaction that the log does not know was not committed by it. That is answered
// DecidedRollback only if the log has been read to its end, if it knows the incarnation
// and has never held the transaction, and if no recovery hold covers it: what was
// remembered and is forgotten, and what this log cannot have begun, is an AskLater. So is
// what a participant that is an [OnePhaser] may have committed by itself: a power loss takes
// that from the log, and the sweep finishes what it holds prepared.
// The error is [ErrUnknownTx] for an XID of another log, and [ErrBadRequest].
func (c *Coordinator) Decision(x XID, participant string) (Decision, error) {
	if err := checkParticipantID(participant); err != nil {
		return AskLater, err
	}
	if x.Log != c.log.ID() {
		return AskLater, fmt.Errorf("%w: %s was given by another log; ask its coordinator", ErrUnknownTx, x)
	}
	c.mu.Lock()
	owner, at := c.owner(x, participant)
	c.mu.Unlock()
	if owner != nil {
		return owner.decision(at), nil
	}
	// It has ended, or never was. If it ended its outcome was remembered in the same
	// step, and is found now unless it has been forgotten.
	c.asking.Lock()
	ended := c.endedAs(refOf(x))
	c.asking.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	verdict := protocol.Sweep(x, protocol.View{
		Log: c.log.ID(), Replayed: true, History: c.history,
		Held: c.hold.Load().covers(x.Incarnation.Number), Decision: c.decision(x, ended),
	})
	switch {
	case verdict == protocol.RollBack && ended == OutcomeUnknown && c.mayOnePhase(participant):
		return AskLater, nil // it may have committed in one phase: only the participant knows
	case verdict == protocol.RollBack:
		return DecidedRollback, nil
	case verdict == protocol.Decided && ended == Committed:
		return DecidedCommit, nil
	}
	return AskLater, nil
}

// mayOnePhase reports whether a participant may have committed branches in one phase.
func (c *Coordinator) mayOnePhase(participant string) bool {
	l, ok := c.lanes.Load(participant)
	if !ok {
		return false
	}
	r := l.(*lane).p.Load()
	return r != nil && r.once != nil
}

// owner returns the live transaction that a branch belongs to, and the branch's place
// in it or -1. The caller holds c.mu.
func (c *Coordinator) owner(x XID, participant string) (owner *txn, at int) {
	for t := range c.live.at(refOf(x)) {
		i := t.find(participant)
		if t.xid == x && (i >= 0 || t.id != "") { // the sweep finds branches, not transactions
			owner, at = t, i
		}
	}
	return owner, at
}

// decision answers for the branch at a place, or for one that the transaction does
// not have.
func (t *txn) decision(at int) Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.held || t.m.State() == protocol.Doubtful || t.stopped():
		return AskLater
	case t.m.Decision() == RolledBack:
		return DecidedRollback
	case t.m.Decision() == Committed && at >= 0:
		return DecidedCommit
	case t.m.Decision() == Committed:
		return AskLater // nobody asked that participant to prepare
	}
	return Undecided
}

// endedAs returns what is remembered of a place in the log. It looks at all that is
// remembered, a piece at a time, so that others get the lock in between.
func (c *Coordinator) endedAs(ref txlog.Ref) Outcome {
	for i := 0; ; i += len(outcomePage{}) {
		c.mu.Lock()
		o, more := c.past.within(i, ref)
		c.mu.Unlock()
		if o != OutcomeUnknown || !more {
			return o
		}
	}
}
