package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/canary"
)

// ErrRefused is in the chain of Prepare's error when the branch is already over:
// rolled back before, voted abort before, or below low water.
var ErrRefused = errors.New("guard: prepare refused")

// errEnded: what the function has done is durable, and it has not voted to commit. It is to
// be rolled back like any other prepared work.
var errEnded = errors.New("guard: the Prepare function ended its transaction by itself")

// Prepare implements [dtc.Participant].
func (g *Guard) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if err := g.check(b); err != nil {
		return dtc.VoteAbort, err
	}
	g.noteLowWater(b)
	vote, err := g.prepare(ctx, b)
	if vote != dtc.VoteCommit && !errors.Is(err, dtc.ErrNoAnswer) {
		g.countFinished(ctx, b.XID.Log)
	}
	if vote == dtc.VoteAbort && err != nil && !errors.Is(err, dtc.ErrNoAnswer) && !errors.Is(err, errEnded) {
		err = dtc.Refuse(err) // the vote is stored, and nothing is held
	}
	return vote, err
}

func (g *Guard) prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	tx, err := g.begin(ctx)
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	// Also after a panic of the caller's function: the connection goes back to
	// the pool, the panic goes on.
	defer tx.Rollback()

	// Whatever goes wrong in the guard's own statements is no answer. An abort
	// vote that is not stored might be followed by a commit vote.
	at := time.Now().UnixMicro()
	inserted, err := g.insertRow(ctx, tx, b, statePrepared, "", at)
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if !inserted {
		r, err := g.readRow(ctx, tx, b.XID)
		if err != nil {
			return dtc.VoteAbort, dtc.NoAnswer(err)
		}
		return r.vote()
	}
	below, err := g.isBelow(ctx, tx, b.XID)
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if below {
		return dtc.VoteAbort, fmt.Errorf("%w: the transaction is over (below low water)", ErrRefused)
	}

	vote, err := g.funcs.Prepare(ctx, tx, b)
	if vote == dtc.VoteCommit && err == nil {
		if err = g.stillIn(ctx, tx, b.XID, statePrepared); err == nil {
			err = tx.Commit()
			if canary.On(canary.VoteAnyway) {
				err = nil
			}
		}
		if err != nil {
			return dtc.VoteAbort, dtc.NoAnswer(err)
		}
		return dtc.VoteCommit, nil
	}
	if canary.On(canary.ReadOnlyKeeps) && vote == dtc.VoteReadOnly && err == nil {
		return vote, tx.Commit()
	}
	if undone := tx.Rollback(); err != nil && undone != nil && !g.d.undoneBefore(undone) {
		// The connection or the context is gone, which may be all that the error
		// says. (Without an error the vote is the function's own.)
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	if err != nil && (ctx.Err() != nil || g.isTransient(err)) {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	return g.storeVote(ctx, b, vote, err, at)
}

// storeVote makes a vote that holds nothing durable, after everything that the
// function did has been undone: also under a read-only vote, where nobody would
// ever come to undo it. A vote of the same branch that was stored meanwhile, by
// a copy of this prepare, is the first and wins. If it is of this very call, at is its time,
// and the function has ended the transaction that was undone.
func (g *Guard) storeVote(ctx context.Context, b dtc.Branch, vote dtc.Vote, cause error, at int64) (dtc.Vote, error) {
	state, reason := stateAborted, ""
	switch {
	case cause != nil:
		vote, reason = dtc.VoteAbort, cause.Error()
	case vote == dtc.VoteReadOnly:
		state = stateReadOnly
	case vote != dtc.VoteAbort:
		cause = fmt.Errorf("guard: the Prepare function answered with an unknown vote: %v", vote)
		vote, reason = dtc.VoteAbort, cause.Error()
	}
	noAnswer := func(err error) (dtc.Vote, error) {
		return dtc.VoteAbort, dtc.NoAnswer(errors.Join(fmt.Errorf("guard: storing the vote: %w", err), cause))
	}
	tx, err := g.begin(ctx)
	if err != nil {
		return noAnswer(err)
	}
	defer tx.Rollback()
	inserted, err := g.insertRow(ctx, tx, b, state, reason, time.Now().UnixMicro())
	if err != nil {
		return noAnswer(err)
	}
	if !inserted {
		r, err := g.readRow(ctx, tx, b.XID)
		if err != nil {
			return noAnswer(err)
		}
		if r.state != statePrepared || r.at != at {
			return r.vote()
		}
		vote, cause = dtc.VoteAbort, errors.Join(errEnded, cause)
		if err := g.withdraw(ctx, tx, b.XID, cause.Error()); err != nil {
			return noAnswer(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return noAnswer(err)
	}
	return vote, cause
}

// vote is the answer to a prepare whose branch has a row.
func (r row) vote() (dtc.Vote, error) {
	switch r.state {
	case statePrepared, stateCommitted:
		if r.reason != "" {
			return dtc.VoteAbort, fmt.Errorf("%w: %s", errEnded, r.reason)
		}
		return dtc.VoteCommit, nil
	case stateReadOnly:
		return dtc.VoteReadOnly, nil
	case stateRolledBack:
		if canary.On(canary.PrepareAfterRollback) {
			return dtc.VoteCommit, nil
		}
		return dtc.VoteAbort, fmt.Errorf("%w: the branch was already rolled back", ErrRefused)
	case stateAborted:
		if r.reason == "" {
			return dtc.VoteAbort, fmt.Errorf("%w: the branch voted abort before", ErrRefused)
		}
		return dtc.VoteAbort, fmt.Errorf("%w: the branch voted abort before: %s", ErrRefused, r.reason)
	case "":
		// The row was dropped between the insert that met it and the read: low
		// water has passed the branch, which the next attempt will see.
		return dtc.VoteAbort, dtc.NoAnswer(errors.New("guard: the branch's row has just been dropped"))
	}
	return dtc.VoteAbort, dtc.NoAnswer(fmt.Errorf("guard: unknown state %q", r.state))
}
