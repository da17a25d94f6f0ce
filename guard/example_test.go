package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"log"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// A payment service: money is put on hold when it is prepared, and the hold is
// turned into a payment, or released, when the decision comes.
//
// This one needs a PostgreSQL, and is only compiled. test/guard/example_test.go has
// examples over SQLite that run.
func Example() {
	db, err := sql.Open("pgx", "postgres:///payments") // the driver is yours to import
	if err != nil {
		log.Fatal(err)
	}
	payment, err := guard.New(context.Background(), "payment", db, guard.PostgreSQL, guard.Funcs{
		Prepare: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
			account := string(b.Payload)
			res, err := tx.ExecContext(ctx, `UPDATE account SET balance = balance - 10 WHERE id = $1 AND balance >= 10`, account)
			if err != nil {
				return dtc.VoteAbort, err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return dtc.VoteAbort, errors.Join(err, errors.New("not enough money"))
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO hold (xid, account, amount) VALUES ($1, $2, 10)`, b.XID.String(), account)
			return dtc.VoteCommit, err
		},
		Commit: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM hold WHERE xid = $1`, b.XID.String())
			return err
		},
		Rollback: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
			_, err := tx.ExecContext(ctx, `WITH h AS (DELETE FROM hold WHERE xid = $1 RETURNING account, amount)
				UPDATE account SET balance = balance + h.amount FROM h WHERE id = h.account`, b.XID.String())
			return err
		},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = payment // a dtc.Participant
}
