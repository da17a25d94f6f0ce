package guard

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/canary"
)

// statements are the guard's queries, written once for all dialects.
type statements struct {
	insert, finish, read, payload, withdraw  string
	lowWater, raiseLowWater, insertLowWater  string
	list, prunable, onlyPrimary, deleteWhere string
}

func (d *dialect) statements(t tables) statements {
	s := statements{
		insert: d.insertVerb + " INTO " + t.branch +
			" (participant, xid, log, incarnation, seq, state, reason, prepared_at, payload)" +
			" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)" + d.insertTail,
		finish:   "UPDATE " + t.branch + " SET state = ? WHERE participant = ? AND xid = ? AND state = '" + statePrepared + "'",
		read:     "SELECT state, reason, prepared_at FROM " + t.branch + " WHERE participant = ? AND xid = ?",
		withdraw: "UPDATE " + t.branch + " SET reason = ? WHERE participant = ? AND xid = ? AND state = '" + statePrepared + "'",
		payload:  "SELECT payload FROM " + t.branch + " WHERE participant = ? AND xid = ?",

		lowWater: "SELECT incarnation, seq FROM " + t.lowWater + " WHERE participant = ? AND log = ?",
		raiseLowWater: "UPDATE " + t.lowWater + " SET incarnation = ?, seq = ?" +
			" WHERE participant = ? AND log = ? AND (incarnation < ? OR (incarnation = ? AND seq < ?))",
		insertLowWater: d.insertVerb + " INTO " + t.lowWater +
			" (participant, log, incarnation, seq) VALUES (?, ?, ?, ?)" + d.insertTail,

		// The page after a key. "incarnation >= ?" alone can use the index.
		list: "SELECT xid, prepared_at FROM " + t.branch +
			" WHERE participant = ? AND log = ? AND state = '" + statePrepared + "' AND incarnation >= ?" +
			" AND (incarnation > ? OR seq > ? OR (seq = ? AND xid > ?))" +
			" ORDER BY incarnation, seq, xid LIMIT ?",
		prunable: "SELECT xid FROM " + t.branch +
			" WHERE participant = ? AND log = ? AND state = ? AND incarnation <= ?" +
			" AND (incarnation < ? OR seq < ?) ORDER BY incarnation, seq LIMIT ?",
		onlyPrimary: "UPDATE " + t.lowWater + " SET seq = seq WHERE 1 = 0",
		deleteWhere: "DELETE FROM " + t.branch + " WHERE participant = ? AND state <> '" + statePrepared + "' AND xid IN ",
	}
	for _, q := range []*string{
		&s.insert, &s.finish, &s.read, &s.payload, &s.withdraw, &s.lowWater, &s.raiseLowWater,
		&s.insertLowWater, &s.list, &s.prunable,
	} {
		*q = d.bind(*q)
	}
	return s
}

func (g *Guard) deleteXIDs(n int) string {
	if canary.On(canary.PrunePrepared) {
		return g.d.bind("DELETE FROM " + g.tables.branch + " WHERE participant = ? AND xid IN (?" + strings.Repeat(", ?", n-1) + ")")
	}
	return g.d.bind(g.sql.deleteWhere + "(?" + strings.Repeat(", ?", n-1) + ")")
}

// insertRow claims the branch: it reports false, and the transaction stays
// usable, if a row stands. If another transaction is about to insert or delete
// that row, it waits until that one has ended.
func (g *Guard) insertRow(ctx context.Context, tx *sql.Tx, b dtc.Branch, state, reason string, at int64) (bool, error) {
	var payload []byte
	if g.opts.KeepPayload && state == statePrepared {
		payload = b.Payload
	}
	x := b.XID
	res, err := tx.ExecContext(ctx, g.sql.insert, g.id, x.String(), x.Log.String(),
		int64(x.Incarnation.Number), int64(x.Seq), state, clean(reason), at, payload)
	return affectedOne(res, err)
}

// finishRow takes a prepared row to its final state. It is the first statement
// of its transaction, because a write that comes first waits for its lock, where
// one that follows a read may find that what it has read is stale.
func (g *Guard) finishRow(ctx context.Context, tx *sql.Tx, x dtc.XID, state string) (bool, error) {
	res, err := tx.ExecContext(ctx, g.sql.finish, state, g.id, x.String())
	return affectedOne(res, err)
}

func affectedOne(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// row is what stands about a branch; the zero row says that nothing does.
type row struct {
	state, reason string
	at            int64 // in microseconds
}

func (g *Guard) readRow(ctx context.Context, tx *sql.Tx, x dtc.XID) (row, error) {
	var r row
	err := tx.QueryRowContext(ctx, g.sql.read, g.id, x.String()).Scan(&r.state, &r.reason, &r.at)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	return r, err
}

// withdraw has a row that is prepared say why it is no vote to commit.
func (g *Guard) withdraw(ctx context.Context, tx *sql.Tx, x dtc.XID, reason string) error {
	_, err := tx.ExecContext(ctx, g.sql.withdraw, clean(reason), g.id, x.String())
	return err
}

// withPayload fills in what was stored with the prepare, if it was.
func (g *Guard) withPayload(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Branch, error) {
	if !g.opts.KeepPayload {
		return b, nil
	}
	err := tx.QueryRowContext(ctx, g.sql.payload, g.id, b.XID.String()).Scan(&b.Payload)
	return b, err
}

// stillIn makes sure that the transaction which wrote the row is the one about
// to be committed. After a deadlock MariaDB has rolled all of it back, and if
// the caller's function swallowed that error, COMMIT would answer OK to nothing.
func (g *Guard) stillIn(ctx context.Context, tx *sql.Tx, x dtc.XID, state string) error {
	if !g.d.losesTransactions {
		return nil
	}
	r, err := g.readRow(ctx, tx, x)
	if err == nil && r.state != state {
		err = fmt.Errorf("guard: %s: the database rolled the local transaction back under the function", x)
	}
	return err
}

// isBelow reports whether x lies below the low water that is stored, as this
// transaction sees it now.
func (g *Guard) isBelow(ctx context.Context, tx *sql.Tx, x dtc.XID) (bool, error) {
	lw, err := g.storedLowWater(ctx, tx, x.Log)
	return err == nil && !lw.IsZero() && x.Compare(lw) < 0, err
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// storedLowWater returns zero if none is stored. The nonce of the incarnation is
// not stored: XIDs are ordered without it.
func (g *Guard) storedLowWater(ctx context.Context, q queryer, log dtc.LogID) (dtc.XID, error) {
	var incarnation, seq int64
	err := q.QueryRowContext(ctx, g.sql.lowWater, g.id, log.String()).Scan(&incarnation, &seq)
	if errors.Is(err, sql.ErrNoRows) {
		return dtc.XID{}, nil
	}
	if err != nil {
		return dtc.XID{}, err
	}
	return dtc.XID{Log: log, Incarnation: dtc.Incarnation{Number: uint32(incarnation)}, Seq: uint64(seq)}, nil
}

// clean makes an error message fit to be stored: valid text without NUL, which
// PostgreSQL refuses, and not longer than a person reads.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if len(s) > 500 {
		s = s[:500]
	}
	return strings.ToValidUTF8(s, "?")
}
