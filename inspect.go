package dtc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// Outcome returns how a transaction ended: [Committed], [RolledBack] or
// [Heuristic], or [OutcomeUnknown] while it is running. It does not wait. The
// error is [ErrUnknownTx] if the id is neither running nor remembered, which
// says nothing about how it ended; see [Coordinator.RememberedSince]. It is
// [ErrInDoubt] if the log failed under the decision.
func (c *Coordinator) Outcome(_ context.Context, id TxID) (Outcome, error) {
	if err := checkTxID(id); err != nil {
		return OutcomeUnknown, err
	}
	t, past := c.lookUp(id)
	switch {
	case past != nil:
		return past.outcome, nil
	case t == nil:
		return OutcomeUnknown, fmt.Errorf("%w: %s is neither running nor remembered", ErrUnknownTx, id)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held || t.m.State() == protocol.Doubtful {
		return OutcomeUnknown, ErrInDoubt
	}
	return t.m.Outcome(), nil
}

// RememberedSince returns the time from which on every finished transaction is
// remembered. An id that ended earlier is unknown. The zero time means that
// nothing was forgotten since the log was opened.
func (c *Coordinator) RememberedSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.past.since(c.now())
}

// TxInfo describes a transaction that is not finished everywhere.
type TxInfo struct {
	TxID     TxID // empty for a branch that the sweep found and no log knows
	XID      XID
	State    string  // active, preparing, committing, rolling_back or held (see Hold)
	Outcome  Outcome // OutcomeUnknown until it may be told
	Reason   Reason  // of a rollback
	Started  time.Time
	Decided  time.Time // zero until the outcome may be told
	Branches []BranchInfo
}

// BranchInfo describes a branch of a [TxInfo].
type BranchInfo struct {
	Participant string
	Voted       bool
	Vote        Vote   // meaningful if Voted
	State       string // enlisted, preparing, prepared, committing, …
	Attempts    int    // calls of the current phase, since the last Open
	LastError   string
	NextAttempt time.Time // zero if none is waiting
	Registered  bool      // whether a participant of that id is registered
}

// Filter selects transactions; the zero value selects all.
type Filter struct {
	Participant string // those with an unfinished branch there
	State       string
}

// Transactions returns the transactions that are not finished everywhere, newest
// first, as they are when each is reached.
func (c *Coordinator) Transactions(f Filter) iter.Seq[TxInfo] {
	return func(yield func(TxInfo) bool) {
		c.mu.Lock()
		live := slices.AppendSeq(make([]*txn, 0, c.live.len()), c.live.all())
		c.mu.Unlock()
		slices.Reverse(live)
		for _, t := range live {
			if info, ok := t.info(f); ok && !yield(info) {
				return
			}
		}
	}
}

func (t *txn) info(f Filter) (TxInfo, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info := TxInfo{
		TxID: t.id, XID: t.xid, State: wireState(&t.m), Outcome: t.m.Outcome(),
		Reason: t.reason, Started: t.started, Decided: t.decidedAt,
	}
	if t.held {
		info.State = "held"
	}
	if t.ended || f.State != "" && f.State != info.State {
		return info, false
	}
	wanted := f.Participant == ""
	for i, br := range t.branches {
		wanted = wanted || br.lane.id == f.Participant && !t.m.Done(i)
		b := BranchInfo{
			Participant: br.lane.id, State: t.m.Branch(i).String(), Attempts: br.prepares,
			LastError: br.lastError, NextAttempt: br.nextAttempt, Registered: br.lane.p.Load() != nil,
		}
		if t.verb() != protocol.Prepare {
			b.Attempts = br.finishes
		}
		b.Vote, b.Voted = t.m.Vote(i)
		info.Branches = append(info.Branches, b)
	}
	return info, wanted
}

// wireState returns the word that people see: the machine's finer states belong
// to phase one.
func wireState(m *protocol.Tx) string {
	switch s := m.State(); s {
	case protocol.Active, protocol.Committing, protocol.RollingBack:
		return s.String()
	case protocol.Logging, protocol.Preparing, protocol.Deciding, protocol.Doubtful:
		return "preparing"
	case protocol.Recovering: // a log that does not decide it says that prepares had left
		switch m.Decision() {
		case Committed:
			return protocol.Committing.String()
		case RolledBack:
			return protocol.RollingBack.String()
		case OutcomeUnknown, Heuristic:
		}
		return "preparing"
	case protocol.Ended:
	}
	return "ended"
}

// Resolve states, for an operator, how one branch of a decided transaction
// ended. Nothing more is sent to it. The statement is forced to the log. If it
// goes against the decision the transaction becomes [Heuristic].
//
// Use it only when a participant is gone for ever or has said itself that it
// finished the branch the other way: a participant that comes back after a wrong
// statement keeps what it holds. If the participant acknowledges while the
// statement is being written, the statement counts. A branch that the sweep found
// has no id; it is named by the text of its XID, and can be resolved only to
// acknowledge that it was committed. The error is [ErrUnknownTx] or
// [ErrBadRequest], or the log's.
func (c *Coordinator) Resolve(_ context.Context, id TxID, participant string, outcome Outcome, reason string) error {
	if outcome != Committed && outcome != RolledBack {
		return fmt.Errorf("%w: a branch is resolved as committed or rolled_back", ErrBadRequest)
	}
	if reason == "" || len(reason) > maxReason {
		return fmt.Errorf("%w: say why the branch is resolved by hand, in at most %d bytes", ErrBadRequest, maxReason)
	}
	c.mu.Lock()
	t := c.find(id)
	if t == nil || c.closing {
		c.mu.Unlock()
		return fmt.Errorf("%w: %s has no unfinished branch", ErrUnknownTx, id)
	}
	c.owners.Add(1)
	c.mu.Unlock()
	defer c.owners.Done()
	c.resolving.Lock() // statements stand in the log in the order in which they count
	defer c.resolving.Unlock()
	if t.id != "" && c.reach(t) {
		t.handle(protocol.Recovered{}) // if recovery has not come to it yet
	}
	t.mu.Lock()
	i := t.find(participant)
	decided := t.m.State() == protocol.Committing || t.m.State() == protocol.RollingBack
	done := i >= 0 && t.m.Done(i)
	orphan := t.id == "" && i >= 0 && t.m.Branch(i) != protocol.BranchHeuristicCommitted
	t.mu.Unlock()
	switch {
	case orphan:
		return fmt.Errorf("%w: no transaction owns this branch, and no log would remember the statement: finish it at %s", ErrBadRequest, participant)
	case i < 0:
		return fmt.Errorf("%w: transaction %s has no branch at %s", ErrBadRequest, id, participant)
	case !decided:
		return fmt.Errorf("%w: transaction %s is not decided; if it is held, release the hold first", ErrBadRequest, id)
	case done:
		return fmt.Errorf("%w: the branch of %s at %s is finished already", ErrBadRequest, id, participant)
	}
	err := c.log.Force(&txlog.Resolution{Ref: t.ref(), Participant: participant, Outcome: outcome, Reason: reason})
	if err != nil {
		c.logFailed(err)
		return errors.Join(ErrLogFailed, err)
	}
	c.cfg.Logger.Warn("a branch was resolved by hand", "tx", string(id), "xid", t.xid.String(),
		"participant", participant, "state", outcome.String(), "reason", reason)
	t.mu.Lock()
	t.step(protocol.Resolved{Branch: i, Outcome: outcome})
	if br := t.branches[i]; br.lane.withdraw(br) {
		t.step(protocol.NoAnswer{Branch: i, Verb: t.verb()})
	}
	t.unlinkDone()
	t.pump(false)
	t.mu.Unlock()
	return nil
}

// find returns a live transaction by its id, or by the text of its XID: a branch
// that the sweep found has no other name. The caller holds c.mu.
func (c *Coordinator) find(id TxID) *txn {
	key := outcomeKey(id)
	if t := c.live.find(id, c.past.byKey.hash(&key)); t != nil {
		return t
	}
	x, err := ParseXID(string(id))
	if err != nil {
		return nil
	}
	for t := range c.live.all() {
		if t.xid == x {
			return t
		}
	}
	return nil
}

func (t *txn) find(participant string) int {
	for i, br := range t.branches {
		if br.lane.id == participant {
			return i
		}
	}
	return -1
}

// Retry calls the waiting branches of a transaction now instead of waiting out
// their back-off. The id may be the text of an XID, as for Resolve. It returns [ErrUnknownTx] if nothing of that id is unfinished.
func (c *Coordinator) Retry(_ context.Context, id TxID) error {
	c.mu.Lock()
	t := c.find(id)
	if t == nil || c.closing {
		c.mu.Unlock()
		return fmt.Errorf("%w: %s has no unfinished branch", ErrUnknownTx, id)
	}
	c.owners.Add(1)
	branches := slices.Clone(t.branches)
	c.mu.Unlock()
	defer c.owners.Done()
	for i, br := range branches {
		t.handle(protocol.RetryDue{Branch: i})
		br.lane.probeNow()
	}
	return nil
}
