package guard

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/canary"
)

// Commit implements [dtc.Participant].
func (g *Guard) Commit(ctx context.Context, b dtc.Branch) error {
	return g.finish(ctx, b, stateCommitted, g.funcs.Commit, g.answerCommit)
}

// Rollback implements [dtc.Participant].
func (g *Guard) Rollback(ctx context.Context, b dtc.Branch) error {
	return g.finish(ctx, b, stateRolledBack, g.funcs.Rollback, g.answerRollback)
}

// errAgain: another call for the same branch got in between; decide anew.
var errAgain = errors.New("guard: the branch is being changed by another call")

type work func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error

// finish takes a prepared branch to its final state together with the caller's
// work. If the branch is not prepared, answer says what to say.
func (g *Guard) finish(ctx context.Context, b dtc.Branch, state string, do work, answer work) error {
	if err := g.check(b); err != nil {
		return err
	}
	g.noteLowWater(b)
	var err error
	for range 3 {
		if err = g.finishOnce(ctx, b, state, do, answer); !errors.Is(err, errAgain) {
			break
		}
	}
	if err == nil {
		g.countFinished(ctx, b.XID.Log)
	}
	return err
}

func (g *Guard) finishOnce(ctx context.Context, b dtc.Branch, state string, do work, answer work) error {
	tx, err := g.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	prepared, err := g.finishRow(ctx, tx, b.XID, state)
	if err != nil {
		return err
	}
	if !prepared && !(canary.On(canary.CommitTwice) && state == stateCommitted) {
		return answer(ctx, tx, b)
	}
	if do != nil {
		if b, err = g.withPayload(ctx, tx, b); err != nil {
			return err
		}
		if err := do(ctx, tx, b); err != nil {
			return err
		}
	}
	if err := g.stillIn(ctx, tx, b.XID, state); err != nil {
		return err
	}
	return tx.Commit()
}

// answerCommit answers a commit of a branch that is not prepared.
func (g *Guard) answerCommit(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	r, err := g.readRow(ctx, tx, b.XID)
	if err != nil {
		return err
	}
	switch r.state {
	case stateCommitted, stateReadOnly:
		return nil
	case stateRolledBack, stateAborted:
		return &dtc.FinishedError{Outcome: dtc.RolledBack}
	case statePrepared:
		return errAgain // its prepare was committed after our update looked
	case "":
		// The row was read before low water: had it been dropped in between, low
		// water would be seen.
		below, err := g.isBelow(ctx, tx, b.XID)
		if err != nil || below || canary.On(canary.CommitUnknown) {
			return err
		}
		return dtc.ErrUnknownBranch
	}
	return fmt.Errorf("guard: unknown state %q", r.state)
}

// answerRollback answers a rollback of a branch that is not prepared. A branch
// never seen gets a row, so that its prepare, should it still come, meets it.
func (g *Guard) answerRollback(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	r, err := g.readRow(ctx, tx, b.XID)
	if err != nil {
		return err
	}
	switch r.state {
	case stateRolledBack, stateAborted, stateReadOnly:
		return nil
	case stateCommitted:
		return &dtc.FinishedError{Outcome: dtc.Committed}
	case statePrepared:
		return errAgain
	case "":
	default:
		return fmt.Errorf("guard: unknown state %q", r.state)
	}
	// A prepare that runs now holds the key, and the insert waits for its end.
	// So nothing is acknowledged beside a prepare that may still succeed, below
	// low water neither.
	inserted, err := g.insertRow(ctx, tx, b, stateRolledBack, "", time.Now().UnixMicro())
	if err != nil {
		return err
	}
	if !inserted {
		return errAgain
	}
	below, err := g.isBelow(ctx, tx, b.XID)
	if err != nil || below || canary.On(canary.NoTombstone) {
		return err // no row needed: low water refuses the late prepare
	}
	return tx.Commit()
}
