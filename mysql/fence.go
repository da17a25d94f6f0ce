package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
)

// querier is what the pools and their connections have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// standing is what became of a branch that no session works for.
type standing int

const (
	absent     standing = iota // it may still be done, by a late call, until it is sealed
	held                       // prepared
	bare                       // prepared, by somebody else, without its row
	committed                  // its row says so
	rolledBack                 // its row says so
)

var errNotOwner = errors.New("the account may not end the connection of a branch")

// state returns what the branch's row says, or "" if there is none that is committed.
func (d *Database) state(ctx context.Context, q querier, b dtc.Branch) (state string, err error) {
	err = q.QueryRowContext(ctx, d.q.state(b)).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows), number(err) == codeLockWait: // it is locked
		return "", nil
	case err != nil:
		return "", d.noAnswer("read the branch's row", err)
	}
	return state, nil
}

// row is a branch's row, committed or not.
type row struct {
	state   string // "" if there is none
	session uint64 // the connection's id
	current bool   // the server has not been started since, so the id is that session's
	replica bool   // the server was read-only
}

func (d *Database) peek(ctx context.Context, b dtc.Branch) (r row, err error) {
	err = d.dirty.QueryRowContext(ctx, d.q.row(b)).Scan(&r.state, &r.session, &r.current, &r.replica)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return row{}, nil
	case err != nil:
		return row{}, d.noAnswer("read the branch's row", err)
	}
	return r, nil
}

// standing looks what became of a branch. A session that still works for it, or holds it,
// is ended before: whoever asks has given up on it, or has lost it.
func (d *Database) standing(ctx context.Context, q querier, b dtc.Branch) (standing, error) {
	return d.look(ctx, q, b, true)
}

// look is standing if it lists. The list has all that is prepared in the server, so with
// many branches in doubt it is most of the work; without it a branch that has its row and
// no session is said to be held, when it may just be undone. Who then finishes it is told.
func (d *Database) look(ctx context.Context, q querier, b dtc.Branch, lists bool) (standing, error) {
	if state, err := d.state(ctx, q, b); err != nil || state != "" {
		return standingOf(state), err
	}
	r, err := d.peek(ctx, b)
	if err != nil {
		return absent, err
	}
	if r.state == stateCommitted && r.current {
		if err := d.fence(ctx, q, r.session); err != nil {
			return absent, err
		}
	}
	if !lists && r.state == stateCommitted && !r.replica {
		return held, nil
	}
	listed, err := d.listed(ctx, q, b)
	switch {
	case err != nil:
		return absent, err
	case listed && r.state == stateCommitted:
		return held, nil
	case listed:
		return bare, nil
	case r.state == "":
		return absent, nil
	}
	// It has just ended, one way or the other. Or else it is undone in the background,
	// after a start of the server; or the server has lost it from its list, and will find
	// it again when it is started.
	if state, err := d.state(ctx, q, b); err != nil || state != "" {
		return standingOf(state), err
	}
	if r, err = d.peek(ctx, b); err != nil || r.state == "" {
		return absent, err
	}
	return absent, dtc.NoAnswer(fmt.Errorf("mysql: %s: %w", d.id, errHidden))
}

var errHidden = errors.New("the branch is in the server and not in its list (XA RECOVER): it is being undone, or it is prepared" +
	" and hidden, with its locks; if this goes on, restart the server, which then lists it")

func standingOf(state string) standing {
	switch state {
	case stateCommitted:
		return committed
	case stateRolledBack:
		return rolledBack
	}
	return absent
}

// fence ends a session and waits until it has left the server: until then it may still
// prepare, or hold what it has prepared.
func (d *Database) fence(ctx context.Context, q querier, session uint64) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		_, err := q.ExecContext(ctx, fmt.Sprintf("KILL CONNECTION %d", session))
		switch {
		case number(err) == codeNoThread:
			return nil
		case number(err) == codeNotOwner:
			return fmt.Errorf("mysql: %s: %w: %w", d.id, errNotOwner, safe(err))
		case err != nil:
			return d.noAnswer("end the branch's session", err)
		}
		if err := sleep(ctx, pause); err != nil {
			return d.noAnswer("wait for the end of the branch's session", err)
		}
	}
}

func sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

// alone calls fn with a connection that finishes this branch while no other does, in
// whatever process. Two sealers that wait for one key are a deadlock, and of two that
// finish one branch at once neither could believe its answer.
func (d *Database) alone(ctx context.Context, b dtc.Branch, fn func(q *sql.Conn) error) error {
	conn, err := d.finish.Conn(ctx)
	if err != nil {
		return d.noAnswer("a connection to finish on", err)
	}
	sum := sha256.Sum256([]byte(rowKey(b.XID, b.Participant)))
	lock := "'dtc." + hex.EncodeToString(sum[:20]) + "'"
	var got sql.Null[int]
	err = conn.QueryRowContext(ctx, fmt.Sprintf("SELECT GET_LOCK(%s, %d)", lock, int(lockWait.Seconds()))).Scan(&got)
	if err != nil || got.V != 1 {
		drop(conn)
		if err != nil {
			return d.noAnswer("be alone with the branch", err)
		}
		return fmt.Errorf("mysql: %s: another process is finishing the branch", d.id)
	}
	if err := fn(conn); err != nil {
		drop(conn) // which gives the lock back
		return err
	}
	if _, err := conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK("+lock+")"); err != nil {
		drop(conn)
		return nil // what was to be done is done
	}
	_ = conn.Close()
	return nil
}
