package dtc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// Outcome returns how a transaction ended: [Committed], [RolledBack] or
// [Heuristic], or [OutcomeUnknown] while it is running. It does not wait. The
// error is [ErrUnknownTx] if the id is neither running nor remembered, which
// says nothing about how it ended; see [Coordinator.RememberedSince]. After the
// log has failed that is [ErrLogFailed]: the next Open may know the id. It is
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
		return OutcomeUnknown, c.unknown(id)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.refused != nil: // just now
		return OutcomeUnknown, t.refused
	case t.held || t.m.State() == protocol.Doubtful:
		return OutcomeUnknown, ErrInDoubt
	}
	return t.outcome(), nil
}

// RememberedSince returns the time from which on every finished transaction is
// remembered. An id that ended earlier is unknown. The zero time means that
// nothing was forgotten since the log was opened.
func (c *Coordinator) RememberedSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.past.since(c.now())
}

// TxInfo describes a transaction. State is heuristic from the moment at which a
// branch is known to be finished against the decision; otherwise it is committed or
// rolled_back when every branch is finished. Of one that ended and is only remembered
// there are the ids, the outcome, the code of a rollback, and when it ended.
type TxInfo struct {
	TxID     TxID // empty for a branch that the sweep found and no log knows
	XID      XID
	State    string  // active, preparing, committing, rolling_back, committed, rolled_back or heuristic
	Held     bool    // a recovery hold covers it; see Hold
	Outcome  Outcome // OutcomeUnknown until it may be told
	Reason   Reason  // of a rollback
	Started  time.Time
	Decided  time.Time    // zero until the outcome may be told
	Ended    time.Time    // when every branch was finished; zero until then
	Branches []BranchInfo // in the order of the request; none if only the outcome is remembered
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
	State       string // one of those of [TxInfo]
	Held        bool   // those that a recovery hold covers
	// Before, if not zero, leaves out this transaction and all later ones: the
	// last one of a page, to go on with the next.
	Before XID
}

// Transactions returns the transactions that are not finished everywhere, newest
// first, as they are when each is reached. If the filter's State is committed,
// rolled_back or heuristic, finished ones that are kept ([Config.KeepEnded]) are
// among them; then Participant means all that had a branch there.
func (c *Coordinator) Transactions(f Filter) iter.Seq[TxInfo] {
	return func(yield func(TxInfo) bool) {
		for _, t := range slices.Backward(c.candidates(f)) {
			if info, ok := t.info(f); ok {
				if info.Ended = c.endOf(t); !yield(info) {
					return
				}
			}
		}
	}
}

// candidates returns the transactions that a filter may select, oldest first.
func (c *Coordinator) candidates(f Filter) []*txn {
	c.mu.Lock()
	all := slices.AppendSeq(make([]*txn, 0, c.live.len()), c.live.all())
	if f.ended() {
		all = append(all, c.recent.ring...)
	}
	c.mu.Unlock()
	if f.ended() {
		slices.SortStableFunc(all, func(a, b *txn) int { return a.xid.Compare(b.xid) })
	}
	if !f.Before.IsZero() {
		n, _ := slices.BinarySearchFunc(all, f.Before, func(t *txn, x XID) int { return t.xid.Compare(x) })
		all = all[:n]
	}
	return all
}

// ended reports whether transactions that are over are wanted as well.
func (f *Filter) ended() bool {
	return f.State == Committed.String() || f.State == RolledBack.String() || f.State == Heuristic.String()
}

// info describes a transaction if the filter selects it.
func (t *txn) info(f Filter) (TxInfo, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted := f.Participant == ""
	for i, br := range t.branches {
		wanted = wanted || br.lane.id == f.Participant && (f.ended() || !t.m.Done(i))
	}
	if !wanted || t.refused != nil || t.ended && !f.ended() || f.Held && !t.held || f.State != "" && f.State != t.word() {
		return TxInfo{}, false
	}
	return t.describe(), true
}

// describe describes a transaction as it is.
func (c *Coordinator) describe(t *txn) TxInfo {
	t.mu.Lock()
	info := t.describe()
	t.mu.Unlock()
	info.Ended = c.endOf(t)
	return info
}

// describe leaves out when it ended. The caller holds t.mu.
func (t *txn) describe() TxInfo {
	info := TxInfo{
		TxID: t.id, XID: t.xid, State: t.word(), Held: t.held, Outcome: t.outcome(),
		Started: t.started, Decided: t.decidedAt,
	}
	if t.m.Decision() == RolledBack && t.refused == nil {
		info.Reason = t.reason
	}
	for i, br := range t.branches {
		b := BranchInfo{
			Participant: br.lane.id, State: t.m.Branch(i).String(), Attempts: br.prepares,
			LastError: br.lastError, NextAttempt: br.nextAttempt, Registered: br.lane.registered(),
		}
		if t.m.Done(i) {
			b.NextAttempt = time.Time{} // a retry that an operator's statement came before
		}
		if br.finishes > 0 || !t.verb().Begins() {
			b.Attempts = br.finishes
		}
		b.Vote, b.Voted = t.m.Vote(i)
		info.Branches = append(info.Branches, b)
	}
	return info
}

// word returns the state of the transaction that people see. The caller holds t.mu.
func (t *txn) word() string {
	if o := t.outcome(); o == Heuristic || t.ended && o != OutcomeUnknown {
		return o.String()
	}
	return wireState(&t.m)
}

// Transaction describes one transaction: one that is running, or one that has ended
// and is remembered. The id may be the text of an XID for one that is not finished.
// The errors are those of [Coordinator.Outcome], without [ErrInDoubt].
func (c *Coordinator) Transaction(id TxID) (TxInfo, error) {
	if err := checkTxID(id); err != nil {
		return TxInfo{}, err
	}
	t, past := c.lookUp(id)
	if t == nil && past == nil {
		c.mu.Lock()
		t = c.find(id)
		c.mu.Unlock()
	}
	switch {
	case t != nil:
		return c.describe(t), nil
	case past != nil:
		return c.recall(id, past), nil
	}
	return TxInfo{}, c.unknown(id)
}

// unknown is the error for an id that was looked up and not found. What a failing log
// stopped before it was decided is dropped, but its records are perhaps on the disk.
func (c *Coordinator) unknown(id TxID) error {
	if err := c.Err(); err != nil {
		return fmt.Errorf("%w; what became of %s is known then, perhaps", err, id)
	}
	return fmt.Errorf("%w: %s is neither running nor remembered", ErrUnknownTx, id)
}

// recall describes a transaction that has ended.
func (c *Coordinator) recall(id TxID, past *remembered) TxInfo {
	c.mu.Lock()
	t := c.recent.find(id, past.ref)
	x := XID{Log: c.log.ID(), Seq: past.ref.Seq}
	for i := range c.history {
		if c.history[i].Incarnation.Number == past.ref.Incarnation {
			x.Incarnation = c.history[i].Incarnation
		}
	}
	c.mu.Unlock()
	if t != nil {
		return c.describe(t)
	}
	info := TxInfo{TxID: id, XID: x, State: past.outcome.String(), Outcome: past.outcome, Ended: time.Unix(0, past.at)}
	if past.outcome == RolledBack {
		info.Reason = Reason{Code: past.code, Message: endedEarlier}
	}
	return info
}

// endedEarlier stands where the sentence of a reason is no longer known.
const endedEarlier = "it ended earlier"

// endOf returns when a transaction ended; the zero time means that it has not.
func (c *Coordinator) endOf(t *txn) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := t.at; at != 0 {
		return time.Time{} // it stands in the live table
	}
	if past := c.past.look(&t.key, t.hash, c.now()); past != nil && past.ref == t.ref() {
		return time.Unix(0, past.at)
	}
	return time.Time{}
}

// wireState returns the word that people see: the machine's finer states belong
// to phase one.
func wireState(m *protocol.Tx) string {
	switch s := m.State(); s {
	case protocol.Active, protocol.Committing, protocol.RollingBack:
		return s.String()
	case protocol.Logging, protocol.Preparing, protocol.OnePhase, protocol.Settling,
		protocol.Deciding, protocol.Doubtful:
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
// goes against the decision the transaction becomes [Heuristic]. Of a transaction in one
// phase whose participant does not say what became of it, the statement is the outcome.
//
// Use it only when a participant is gone for ever or has said itself that it
// finished the branch the other way: a participant that comes back after a wrong
// statement keeps what it holds. If the participant acknowledges while the
// statement is being written, the statement counts. A branch that the sweep found
// has no id; it is named by the text of its XID, and can be resolved only to
// acknowledge that it was committed. That is not in the log, as nothing of it is. The error is [ErrUnknownTx] or
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
	for _, sister := range c.sisters(t) {
		if sister.find(participant) >= 0 {
			t = sister
		}
	}
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
	settling := t.m.State() == protocol.Settling
	decided := t.m.State() == protocol.Committing || t.m.State() == protocol.RollingBack || settling
	done := i >= 0 && t.m.Done(i)
	orphan := t.id == "" && i >= 0 && t.m.Branch(i) != protocol.BranchHeuristicCommitted
	var err error
	if t.id != "" && decided && i >= 0 && !done && !t.m.Logged() {
		err = t.logAfterAll()
	}
	if settling && !done {
		t.step(protocol.Stating{Branch: i})
	}
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
	if err == nil && t.id != "" { // of an orphan the log knows nothing, and needs nothing
		err = c.log.Force(&txlog.Resolution{Ref: t.ref(), Participant: participant, Outcome: outcome, Reason: reason})
	}
	if err != nil {
		c.logFailed(err)
		if settling && isRefused(err) {
			t.handle(protocol.Refused{})
		} else if settling {
			t.handle(protocol.LogFailed{})
		}
		return errors.Join(ErrLogFailed, err)
	}
	failpoint.Hit(failpoint.ResolveForced)
	if f := c.cfg.Trace.Resolved; f != nil {
		f(t.trace(), participant, outcome)
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

// logAfterAll puts a transaction into the log that was rolled back, or was to be, while
// it still grew, and so without a record: a statement about what the log never had would be a
// contradiction in it, and forgotten by a restart. The caller holds t.mu.
func (t *txn) logAfterAll() error {
	if t.m.OnePhase() {
		t.m.Log()
		return t.append(txlog.KindOnePhase)
	}
	if err := t.append(txlog.KindPrepare); err != nil {
		return err
	}
	t.m.Log()
	return t.append(txlog.KindAbort)
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
	for t := range c.live.at(refOf(x)) {
		if t.xid == x {
			return t
		}
	}
	return nil
}

// sisters returns the other transactions of the same XID, if t is a branch that the sweep
// found: each such branch is a transaction. The caller holds c.mu.
func (c *Coordinator) sisters(t *txn) (all []*txn) {
	if t == nil || t.id != "" {
		return nil
	}
	for s := range c.live.at(t.ref()) {
		if s != t && s.xid == t.xid {
			all = append(all, s)
		}
	}
	return all
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
	for _, sister := range c.sisters(t) {
		branches = append(branches, sister.branches...)
	}
	c.mu.Unlock()
	defer c.owners.Done()
	for _, br := range branches {
		br.tx.handle(protocol.RetryDue{Branch: br.index})
		br.lane.probeNow()
	}
	return nil
}
