package oracle

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// Once is a guard that also commits in one phase. It never drops a proof or a seal:
// its databases live for a test.
type Once struct {
	*guard.Guard
	db       *sql.DB
	breakage string
}

var _ dtc.OnePhaser = (*Once)(nil)

// Deliberate bugs of a [Once], which must be found: a test that cannot fail shows nothing.
const (
	NoProof  = "no_proof" // it commits in one phase, and keeps no proof
	Unsealed = "unsealed" // settled as rolled back, and what comes late may commit
)

// NewOnce returns the participant over a database that Open opened. breakage names a
// deliberate bug, or none.
func NewOnce(db *sql.DB, id, breakage string) (*Once, error) {
	g, err := NewGuard(db, id)
	if err == nil {
		_, err = db.Exec(onceSchema)
	}
	return &Once{g, db, breakage}, err
}

// CanOnePhase implements [dtc.OnePhaser].
func (p *Once) CanOnePhase(dtc.Branch) bool { return true }

// CommitOnePhase implements [dtc.OnePhaser].
func (p *Once) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	vote, refusal := dtc.VoteAbort, error(nil)
	err := p.within(ctx, b, func(tx *sql.Tx, k *known) (err error) {
		switch {
		case k.committed():
			vote, refusal = k.again(b, k.vote)
		case k.sealed, k.guarded != "":
			refusal = dtc.Refuse(fmt.Errorf("the branch is over: sealed %v, state %q", k.sealed, k.guarded))
		case b.XID.Incarnation.Number < k.fence, b.XID.Compare(k.lowWater) < 0:
			refusal = fmt.Errorf("too late: incarnation %d has called, with low water %s", k.fence, k.lowWater)
		default:
			vote, err = p.commit(ctx, tx, b)
		}
		return err
	})
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	return vote, refusal
}

// commit does the work, and keeps the proof, in one local transaction; or seals the branch.
func (p *Once) commit(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT work"); err != nil {
		return dtc.VoteAbort, err
	}
	vote, err := reserve(ctx, tx, b)
	if err == nil && vote == dtc.VoteCommit {
		err = apply(ctx, tx, b)
	}
	if err == nil && vote != dtc.VoteCommit {
		_, err = tx.ExecContext(ctx, "ROLLBACK TO work")
	}
	switch {
	case err != nil:
	case vote == dtc.VoteAbort:
		err = seal(ctx, tx, b)
	case p.breakage != NoProof:
		_, err = tx.ExecContext(ctx, "INSERT INTO once_proof VALUES (?, ?, ?, ?, ?)",
			b.XID.Log.String(), b.TxID, b.XID.String(), b.Fingerprint[:], vote)
	}
	return vote, err
}

// Settle implements [dtc.OnePhaser].
func (p *Once) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	outcome := dtc.RolledBack
	err := p.within(ctx, b, func(tx *sql.Tx, k *known) error {
		switch {
		case k.committed() && (k.xid == b.XID.String() || k.serves(b)):
			outcome = dtc.Committed
			return nil
		case p.breakage == Unsealed:
			return nil
		}
		return seal(ctx, tx, b)
	})
	if err != nil || outcome == dtc.Committed || p.breakage == Unsealed {
		return outcome, err
	}
	err = p.Guard.Rollback(ctx, b) // it may have been prepared
	var finished *dtc.FinishedError
	if errors.As(err, &finished) {
		return finished.Outcome, nil
	}
	return outcome, err
}

// Prove implements [dtc.OnePhaser].
func (p *Once) Prove(ctx context.Context, log dtc.LogID, id dtc.TxID) (dtc.XID, error) {
	var name string
	err := p.db.QueryRowContext(ctx, "SELECT xid FROM once_proof WHERE log = ? AND tx = ?", log.String(), id).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return dtc.XID{}, nil
	}
	if err != nil {
		return dtc.XID{}, err
	}
	return dtc.ParseXID(name)
}

// Prepare implements [dtc.Participant]. When it has looked for a proof none can appear
// any more: the fence keeps out what is of an earlier incarnation, and in one
// incarnation an id is not run twice at once.
func (p *Once) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	vote, refusal := dtc.VoteCommit, error(nil)
	err := p.within(ctx, b, func(_ *sql.Tx, k *known) error {
		if k.committed() {
			vote, refusal = k.again(b, dtc.VoteReadOnly)
		} else if k.sealed {
			vote, refusal = dtc.VoteAbort, dtc.Refuse(errors.New("the branch is sealed"))
		}
		return nil
	})
	switch {
	case err != nil:
		return dtc.VoteAbort, dtc.NoAnswer(err)
	case vote != dtc.VoteCommit:
		return vote, refusal
	}
	return p.Guard.Prepare(ctx, b)
}

// Rollback implements [dtc.Participant].
func (p *Once) Rollback(ctx context.Context, b dtc.Branch) error {
	done := false
	err := p.within(ctx, b, func(_ *sql.Tx, k *known) error {
		done = k.xid == b.XID.String()
		return nil
	})
	switch {
	case err != nil:
		return err
	case done:
		return &dtc.FinishedError{Outcome: dtc.Committed}
	}
	return p.Guard.Rollback(ctx, b)
}
