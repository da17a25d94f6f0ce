package dtctest

import (
	"context"
	"errors"

	"github.com/dtc-project/dtc"
)

var errNotOnePhase = errors.New("dtctest: this participant cannot commit in one phase")

// CanOnePhase implements [dtc.OnePhaser]. It is no call, and knows no faults.
func (f *Flaky) CanOnePhase(b dtc.Branch) bool {
	p, ok := f.p.(dtc.OnePhaser)
	return ok && p.CanOnePhase(b)
}

// CommitOnePhase implements [dtc.OnePhaser].
func (f *Flaky) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	p, ok := f.p.(dtc.OnePhaser)
	if !ok {
		return dtc.VoteAbort, dtc.Refuse(errNotOnePhase)
	}
	var vote dtc.Vote
	err := f.call(ctx, MethodCommitOnePhase, b, func(ctx context.Context) (func(), error) {
		v, err := p.CommitOnePhase(ctx, b)
		return func() { vote = v }, err
	})
	return vote, err // without an answer the vote is the zero one, abort
}

// Settle implements [dtc.OnePhaser].
func (f *Flaky) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	p, ok := f.p.(dtc.OnePhaser)
	if !ok {
		return dtc.OutcomeUnknown, errNotOnePhase
	}
	var outcome dtc.Outcome
	err := f.call(ctx, MethodSettle, b, func(ctx context.Context) (func(), error) {
		o, err := p.Settle(ctx, b)
		return func() { outcome = o }, err
	})
	return outcome, err
}

// Prove implements [dtc.OnePhaser].
func (f *Flaky) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	p, ok := f.p.(dtc.OnePhaser)
	if !ok {
		return dtc.XID{}, errNotOnePhase
	}
	var x dtc.XID
	what := dtc.Branch{TxID: id, XID: dtc.XID{Log: log}}
	err := f.call(ctx, MethodProve, what, func(ctx context.Context) (func(), error) {
		got, err := p.Prove(ctx, log, id)
		return func() { x = got }, err
	})
	return x, err
}

// deliverOnePhase delivers a late request; only an inner OnePhaser gets one.
func (f *Flaky) deliverOnePhase(ctx context.Context, c Call) {
	p, ok := f.p.(dtc.OnePhaser)
	switch {
	case !ok:
	case c.Method == MethodSettle:
		_, _ = p.Settle(ctx, c.Branch)
	default:
		_, _ = p.CommitOnePhase(ctx, c.Branch)
	}
}
