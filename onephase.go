package dtc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/protocol"
)

// mayOnePhase finds out, when the branches are all there, whether the transaction can
// commit in one phase. The caller holds t.mu.
func (t *txn) mayOnePhase() {
	if len(t.branches) != 1 || t.m.State() != protocol.Active {
		return
	}
	br := t.branches[0]
	r := br.lane.p.Load()
	if r == nil || r.gone || r.once == nil {
		return
	}
	if r.once.CanOnePhase(Branch{Participant: br.lane.id, Payload: br.payload, TxID: t.id, XID: t.xid, Fingerprint: t.fingerprint}) {
		t.m.MayOnePhase()
	} else {
		t.m.MayBeDone()
	}
}

// errCannotSettle is what a participant answers that has taken the place of another one.
var errCannotSettle = errors.New("the participant that is registered now cannot say what became of a branch in one phase")

func (r *registration) commitOnePhase(ctx context.Context, b *Branch) (Vote, error) {
	if r.once == nil {
		return VoteAbort, NoAnswer(errCannotSettle)
	}
	return r.once.CommitOnePhase(ctx, *b)
}

func (r *registration) settle(ctx context.Context, b *Branch) (Outcome, error) {
	if r.once == nil {
		return OutcomeUnknown, errCannotSettle
	}
	o, err := r.once.Settle(ctx, *b)
	if err == nil && o > RolledBack {
		return o, fmt.Errorf("participant %s settled its branch as %s, which is no answer", b.Participant, o)
	}
	return o, err
}

// interrupt ends the call that commits in one phase, and lets the owner know that the
// branch is in doubt. The caller holds t.mu.
func (t *txn) interrupt() {
	t.explain()
	if t.cancel != nil {
		t.cancel()
	}
	t.watchHung()
}

// untilSettled waits as long as a caller stays for phase two for the participant to say
// what became of the branch; not shorter if the caller's context has ended, which may be
// why it is asked. The caller holds t.mu; it is released while waiting.
func (t *txn) untilSettled(opts *TxOptions) {
	wait := max(0, t.completionWait(opts))
	timer := time.NewTimer(chance.Apart(wait))
	defer timer.Stop()
	t.listen()
	for over := false; !over && !t.told && !t.ended; {
		if wait > closingWait && t.c.isClosing() {
			wait = closingWait
			timer.Reset(chance.Apart(wait))
		}
		t.mu.Unlock()
		select {
		case <-t.signal:
		case <-timer.C:
			over = true
		}
		t.mu.Lock()
	}
}

// closingWait is how long Close, at most, waits for a participant to say what became of a
// branch in one phase.
const closingWait = time.Second

// leaveInDoubt lets those who have joined go home with the owner. The caller holds t.mu.
func (t *txn) leaveInDoubt() {
	if !t.told && !t.ended && t.toldC != nil {
		close(t.toldC)
		t.toldC = nil
	}
}

// patience returns what tells somebody who joins that it is no use to wait any longer:
// nobody owns a transaction in one phase, and its participant does not say what became of
// it. The caller holds t.mu.
func (t *txn) patience() (over <-chan time.Time, stop func()) {
	if t.owned || !t.m.OnePhase() {
		return nil, func() {}
	}
	timer := time.NewTimer(chance.Apart(max(0, t.c.cfg.CompletionWait)))
	return timer.C, func() { timer.Stop() }
}

// Prove describes a transaction like [Coordinator.Transaction], and if the id is neither
// running nor remembered it asks the participants that commit in one phase: a power loss
// takes from the log what only they keep ([OnePhaser]). Of what they prove there are the
// ids and the outcome, which is [Committed].
//
// The error is [ErrUnknownTx] if nobody knows the id, which says nothing about how it
// ended, and wraps that of a participant that could not be asked.
func (c *Coordinator) Prove(ctx context.Context, id TxID) (TxInfo, error) {
	info, err := c.Transaction(id)
	if !errors.Is(err, ErrUnknownTx) {
		return info, err
	}
	for _, r := range c.provers() {
		x, failed := c.prove(ctx, r, id)
		switch {
		case failed != nil:
			err = errors.Join(err, fmt.Errorf("participant %s was not able to tell: %w", r.ID(), failed))
		case !x.IsZero():
			return TxInfo{TxID: id, XID: x, State: Committed.String(), Outcome: Committed}, nil
		}
	}
	return TxInfo{}, err
}

// proven describes what somebody wants to end that is neither running nor remembered.
func (c *Coordinator) proven(ctx context.Context, id TxID, x XID) (TxInfo, error) {
	info, err := c.Prove(ctx, id)
	if err == nil && !x.IsZero() && x != info.XID {
		return TxInfo{}, fmt.Errorf("%w: %s is not %s: it was committed as %s", ErrTxConflict, id, x, info.XID)
	}
	return info, err
}

// provers returns the registered participants that commit in one phase, by id.
func (c *Coordinator) provers() []*registration {
	var all []*registration
	c.eachLane(func(l *lane) {
		if r := l.p.Load(); l.registered() && r.once != nil {
			all = append(all, r)
		}
	})
	slices.SortFunc(all, func(a, b *registration) int { return strings.Compare(a.ID(), b.ID()) })
	return all
}

// prove asks one participant, for as long as a call of phase one may take.
func (c *Coordinator) prove(ctx context.Context, r *registration, id TxID) (x XID, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.lane(r.ID()).timing.Load().PrepareAttempt)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			x, err = XID{}, fmt.Errorf("it panicked: %v", p)
		}
	}()
	return r.once.Prove(ctx, c.log.ID(), id)
}
