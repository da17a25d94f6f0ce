package simdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// tokens is work whose every execution leaves a trace, with no key that would hide a
// second one: a row per prepare, a row per commit.
var tokens = guard.Funcs{
	Prepare: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO token (xid, token, state) VALUES ($1, $2, 'held')",
			b.XID.String(), string(b.TxID)); err != nil {
			return dtc.VoteAbort, err
		}
		switch string(b.Payload) {
		case "abort":
			return dtc.VoteAbort, nil
		case "error":
			return dtc.VoteAbort, errors.New("sold out")
		case "read-only":
			return dtc.VoteReadOnly, nil
		}
		return dtc.VoteCommit, nil
	},
	Commit: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM token WHERE xid = $1 AND state = 'held'", b.XID.String()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO token (xid, token, state) VALUES ($1, $2, 'applied')",
			b.XID.String(), string(b.TxID))
		return err
	},
	Rollback: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM token WHERE xid = $1 AND state = 'held'", b.XID.String())
		return err
	},
}

// effects counts the committed tokens of a branch.
func effects(db *simdb.DB, x dtc.XID) (held, applied int) {
	for _, r := range db.Rows("token") {
		switch {
		case r["xid"] != x.String():
		case r["state"] == "held":
			held++
		case r["state"] == "applied":
			applied++
		}
	}
	return held, applied
}

// The guard keeps every promise over this database, and loses nothing in its crashes.
func TestGuardConforms(t *testing.T) {
	for _, opts := range []*guard.Options{nil, {PruneEvery: -1}} {
		for _, p := range dtctest.ParticipantPromises() {
			t.Run(fmt.Sprintf("prune by itself %v/%s", opts == nil, p.Name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { conform(t, p, opts) })
			})
		}
	}
}

func conform(t *testing.T, p dtctest.Promise, opts *guard.Options) {
	db := simdb.New(simdb.Tokens)
	pool := simdb.Open(db)
	defer pool.Close()
	open := func() (*guard.Guard, error) {
		return guard.New(t.Context(), "tokens", pool, guard.PostgreSQL, tokens, opts)
	}
	g, err := open()
	if err != nil {
		t.Fatal(err)
	}
	s := dtctest.Subject{
		Participant:  g,
		PayloadAbort: []byte("abort"), PayloadReadOnly: []byte("read-only"),
		Effect: func(x dtc.XID) (dtctest.Effect, error) {
			held, applied := effects(db, x)
			if held > 1 {
				return dtctest.Effect{}, fmt.Errorf("prepared %d times", held)
			}
			return dtctest.Effect{Held: held == 1, Applied: applied}, nil
		},
		Rows: func(log dtc.LogID) (n int, err error) {
			for _, r := range db.Rows("dtc_guard_branch") {
				if r["log"] == log.String() {
					n++
				}
			}
			return n, nil
		},
		Restart: func() (dtc.Participant, error) {
			db.Crash()
			db.Restart()
			return open()
		},
	}
	if opts != nil {
		s.Prune = func(ctx context.Context) error {
			_, err := g.Prune(ctx)
			return err
		}
	}
	p.Check(t, s)
	if open, waiting := db.Busy(); open+waiting > 0 {
		t.Errorf("%d transactions are open and %d statements wait at the end", open, waiting)
	}
}
