package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// seal inserts the row that says rolled back, and reports whether there was none. It
// waits for a session that has inserted the row and has not ended, and gives up soon:
// whoever is alone with the branch then looks again.
func (d *Database) seal(ctx context.Context, q querier, b dtc.Branch) (bool, error) {
	insert, err := d.q.insert(b, stateRolledBack, "")
	if err != nil {
		return false, err
	}
	_, err = q.ExecContext(ctx, insert)
	switch {
	case err == nil:
		return true, nil
	case number(err) == codeDuplicate:
		return false, nil
	case gone(err):
		return false, d.noAnswer("seal", err)
	}
	return false, d.failed("seal", err)
}

// attest votes for a branch whose session is not here: commit if it is prepared, and
// otherwise abort for the reason given, after it has been made sure that it can be
// prepared no more.
func (d *Database) attest(ctx context.Context, b dtc.Branch, reason error) (v dtc.Vote, err error) {
	err = d.alone(ctx, b, func(q *sql.Conn) error {
		switch st, err := d.keptStanding(ctx, q, b); {
		case err != nil:
			return err
		case st == held, st == committed: // committed by a decision that came before
			v = dtc.VoteCommit
			return nil
		}
		return d.rollbackElsewhere(ctx, q, b)
	})
	var finished *dtc.FinishedError
	switch {
	case errors.As(err, &finished) && finished.Outcome == dtc.Committed:
		return dtc.VoteCommit, nil
	case err != nil:
		return dtc.VoteAbort, dtc.NoAnswer(err)
	case v == dtc.VoteCommit:
		return v, nil
	}
	return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("mysql: %s: %w", d.id, reason))
}
