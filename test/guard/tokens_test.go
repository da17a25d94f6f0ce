package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/guard"
)

// tokens is work whose every execution leaves a trace: a row in "held" per
// prepare, a row in "applied" per commit, with no key that would hide a second.
type tokens struct{ *database }

func newTokens(t testing.TB, d *database) tokens {
	t.Helper()
	d.exec(t, "CREATE TABLE held (xid varchar(64) NOT NULL)")
	d.exec(t, "CREATE TABLE applied (xid varchar(64) NOT NULL)")
	d.exec(t, "CREATE INDEX held_xid ON held (xid)")
	d.exec(t, "CREATE INDEX applied_xid ON applied (xid)")
	return tokens{d}
}

func (k tokens) funcs() guard.Funcs {
	return guard.Funcs{Prepare: k.prepare, Commit: k.commit, Rollback: k.rollback}
}

// prepare writes before it votes, whatever the vote: what is not a commit vote
// must be undone by the guard.
func (k tokens) prepare(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	if err := k.execTx(ctx, tx, "INSERT INTO held (xid) VALUES (?)", b.XID.String()); err != nil {
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
}

func (k tokens) commit(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	if err := k.execTx(ctx, tx, "DELETE FROM held WHERE xid = ?", b.XID.String()); err != nil {
		return err
	}
	return k.execTx(ctx, tx, "INSERT INTO applied (xid) VALUES (?)", b.XID.String())
}

func (k tokens) rollback(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return k.execTx(ctx, tx, "DELETE FROM held WHERE xid = ?", b.XID.String())
}

func (k tokens) effect(x dtc.XID) (dtctest.Effect, error) {
	held, err := k.count("SELECT count(*) FROM held WHERE xid = ?", x.String())
	if err != nil {
		return dtctest.Effect{}, err
	}
	if held > 1 {
		return dtctest.Effect{}, fmt.Errorf("prepared %d times", held)
	}
	applied, err := k.count("SELECT count(*) FROM applied WHERE xid = ?", x.String())
	return dtctest.Effect{Held: held == 1, Applied: applied}, err
}

func (k tokens) rows(log dtc.LogID) (int, error) {
	return k.count("SELECT count(*) FROM dtc_guard_branch WHERE log = ?", log.String())
}
