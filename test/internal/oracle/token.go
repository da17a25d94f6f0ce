// Package oracle finds out whether transactions did what was said of them.
//
// Each branch of a transaction leaves a token in the database of its participant, in
// the same local transaction as its vote. At rest a token is everywhere or nowhere; who
// was told committed finds it everywhere, who was told rolled back nowhere.
package oracle

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// The kinds of a branch. The shape of a transaction has one for each participant, in
// the order that the test gives them. It ends the transaction's id, so that every
// process knows what an id stands for.
const (
	Writes   = 'w' // leaves a token
	Reads    = 'r' // writes a token all the same, then votes read-only
	Declines = 'n' // writes a token too, then votes abort
	Absent   = '-'
)

// ShapeOf returns the shape of an id: what follows its last dot.
func ShapeOf(id dtc.TxID) string { return string(id[strings.LastIndexByte(string(id), '.')+1:]) }

// Payload is the payload of a branch of a kind. It is JSON.
func Payload(kind rune) []byte { return []byte{'"', byte(kind), '"'} }

// kindOf returns the kind of a branch, or Absent if the payload is none of ours.
func kindOf(b dtc.Branch) rune {
	if len(b.Payload) != 3 {
		return Absent
	}
	return rune(b.Payload[1])
}

// A token says that a transaction left its effect. There is no key that would hide a
// second one.
const schema = `
	CREATE TABLE IF NOT EXISTS token (tx TEXT NOT NULL, xid TEXT NOT NULL, applied INTEGER NOT NULL);
	CREATE INDEX IF NOT EXISTS token_xid ON token (xid)`

// Open opens the database of a participant, and makes it if it is not there. A kill
// loses nothing that the operating system has, so the database need not wait for the
// disk.
func Open(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+ // a # would end it
		"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	// Several, so that local transactions meet in the database and not only in
	// the pool; few, because SQLite waits for its one lock by sleeping.
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(2)
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// NewGuard returns the participant over a database that Open opened.
func NewGuard(db *sql.DB, id string) (*guard.Guard, error) {
	return guard.New(context.Background(), id, db, guard.SQLite,
		guard.Funcs{Prepare: reserve, Commit: apply, Rollback: release},
		&guard.Options{
			PruneEvery:         32, // often, so that rows go in a short life too
			AllowLossyDatabase: true,
		})
}

func reserve(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO token VALUES (?, ?, 0)", b.TxID, b.XID.String()); err != nil {
		return dtc.VoteAbort, err
	}
	switch kind := kindOf(b); kind {
	case Writes:
		return dtc.VoteCommit, nil
	case Reads:
		return dtc.VoteReadOnly, nil
	case Declines:
		return dtc.VoteAbort, nil
	default:
		return dtc.VoteAbort, fmt.Errorf("the payload is %q", b.Payload)
	}
}

func apply(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return one(tx.ExecContext(ctx, "UPDATE token SET applied = applied + 1 WHERE xid = ?", b.XID.String()))
}

func release(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return one(tx.ExecContext(ctx, "DELETE FROM token WHERE xid = ?", b.XID.String()))
}

func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d tokens changed, want 1", n)
	}
	return err
}

// Prepared returns how many branches a participant holds prepared.
func Prepared(db *sql.DB) (n int, err error) {
	err = db.QueryRow("SELECT count(*) FROM dtc_guard_branch WHERE state = 'prepared'").Scan(&n)
	return n, err
}
