package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// adopt votes for a branch that somebody else has prepared, and notes which transaction
// that is, by which its end is known later: the branch has no row of its own.
func (d *Database) adopt(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	x := b.XID
	tag, err := d.finish.Exec(ctx, d.q.adopt, Name(x, b.Participant), b.Participant, x.Log.String(),
		int64(x.Incarnation.Number), int64(x.Seq), []byte(b.TxID))
	if err != nil {
		return dtc.VoteAbort, d.noAnswer("adopt", err)
	}
	if tag.RowsAffected() == 1 {
		return dtc.VoteCommit, nil
	}
	state, err := d.state(ctx, b)
	if err != nil {
		return dtc.VoteAbort, err
	}
	switch state {
	case statePrepared, stateCommitted:
		err := d.settle(ctx)
		return vote(err == nil), err // as the first time
	case "":
		if below, err := d.below(ctx, b); err != nil || below {
			return dtc.VoteAbort, err
		}
		return d.attest(ctx, b, errors.New("no transaction is prepared under the name "+Name(x, b.Participant)))
	}
	// Rolled back before. Somebody may have prepared it since: not refused, so it is rolled
	// back again.
	return dtc.VoteAbort, fmt.Errorf("postgres: %s: the branch was already %s", d.id, state)
}

// attest votes for a branch whose session is not here: commit if it is prepared, and
// otherwise abort for the reason given, after it has been made sure that it can be
// prepared no more.
func (d *Database) attest(ctx context.Context, b dtc.Branch, reason error) (dtc.Vote, error) {
	listed, err := d.listed(ctx, b)
	if err != nil || listed {
		return vote(listed), err
	}
	state, err := d.seal(ctx, b)
	switch {
	case err != nil:
		return dtc.VoteAbort, dtc.NoAnswer(err)
	case state == stateCommitted: // it was prepared, and committed by a decision that came before
		err := d.settle(ctx)
		return vote(err == nil), err
	}
	return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("postgres: %s: %w", d.id, reason))
}

// listed reports whether the branch is prepared. Its error is no answer.
func (d *Database) listed(ctx context.Context, b dtc.Branch) (bool, error) {
	var standby, listed bool
	err := d.finish.QueryRow(ctx, `SELECT pg_is_in_recovery(), EXISTS (SELECT 1 FROM pg_prepared_xacts
		WHERE gid = $1 AND database = current_database())`, Name(b.XID, b.Participant)).Scan(&standby, &listed)
	switch {
	case err != nil:
		return false, d.noAnswer("look for the prepared transaction", err)
	case standby:
		return false, dtc.NoAnswer(fmt.Errorf("postgres: %s: the server is a standby", d.id))
	case listed:
		err = d.settle(ctx)
		return err == nil, err
	}
	return false, nil
}

// settle waits until what was just seen is wherever the server's settings want it before it
// is acknowledged: a transaction that waits for a synchronous standby is seen before it is
// there, and a wait that was cancelled, as by a client that hung up, is not made good. What
// is acknowledged after it is behind it in the log. Its error is no answer.
func (d *Database) settle(ctx context.Context) error {
	_, err := d.finish.Exec(ctx, "SELECT pg_logical_emit_message(true, 'dtc', '') WHERE current_setting('synchronous_standby_names') <> ''")
	if err != nil {
		return d.noAnswer("wait for the synchronous standbys", err)
	}
	return nil
}
