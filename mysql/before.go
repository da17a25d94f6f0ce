package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/dtc-project/dtc"
)

// before looks what an earlier call, whose answer was lost, has left of a branch.
func (d *Database) before(ctx context.Context, b dtc.Branch) (st standing, err error) {
	if r, err := d.peek(ctx, b); err != nil || r.state == "" {
		return absent, err
	}
	err = d.alone(ctx, b, func(q *sql.Conn) (err error) {
		st, err = d.keptStanding(ctx, q, b)
		return err
	})
	if err != nil {
		err = dtc.NoAnswer(err)
	}
	return st, err
}

// refused returns the reason of a vote to abort. It needs no rollback to follow if
// nothing is held.
func refused(clean bool, err error) error {
	if clean {
		return dtc.Refuse(err)
	}
	return err
}

func (d *Database) rolledBefore() error {
	return dtc.Refuse(fmt.Errorf("mysql: %s: the branch was already rolled back", d.id))
}

// ended answers a prepare that has met the row of its branch.
func (d *Database) ended(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	switch st, err := d.before(ctx, b); {
	case err != nil:
		return dtc.VoteAbort, err
	case st == held, st == committed:
		return dtc.VoteCommit, nil // as the first time
	case st == rolledBack:
		return dtc.VoteAbort, d.rolledBefore()
	}
	// Dropped in between: low water has passed it, which the next attempt will see.
	return dtc.VoteAbort, dtc.NoAnswer(fmt.Errorf("mysql: %s: the branch's row has just been dropped", d.id))
}
