package oracle

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

const onceSchema = `
	CREATE TABLE IF NOT EXISTS once_fence (log TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, low TEXT NOT NULL);
	CREATE TABLE IF NOT EXISTS once_proof (log TEXT NOT NULL, tx TEXT NOT NULL, xid TEXT NOT NULL,
		request BLOB NOT NULL, vote INTEGER NOT NULL, PRIMARY KEY (log, tx));
	CREATE TABLE IF NOT EXISTS once_sealed (xid TEXT PRIMARY KEY)`

// known is what the database says of a branch.
type known struct {
	fence    uint32 // the latest incarnation that has called
	lowWater dtc.XID
	// Of a commit in one phase of the same id, under any XID. xid is "" if there was none.
	xid     string
	request []byte
	vote    dtc.Vote
	sealed  bool
	guarded string // the state in two phases, or ""
}

func (k *known) committed() bool { return k.xid != "" }

// serves reports whether what was committed was the request that b is of.
func (k *known) serves(b dtc.Branch) bool {
	none := [16]byte{}
	return b.Fingerprint == none || bytes.Equal(k.request, none[:]) || bytes.Equal(k.request, b.Fingerprint[:])
}

// within calls do in a local transaction that has raised the fence to the incarnation of
// b, and so is the only one. It commits unless do fails.
func (p *Once) within(ctx context.Context, b dtc.Branch, do func(*sql.Tx, *known) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// The first statement writes: a lock that is taken after a read may find it stale.
	_, err = tx.ExecContext(ctx, `INSERT INTO once_fence VALUES (?, ?, '')
		ON CONFLICT (log) DO UPDATE SET incarnation = max(incarnation, excluded.incarnation)`,
		b.XID.Log.String(), b.XID.Incarnation.Number)
	if err != nil {
		return err
	}
	k, err := p.read(ctx, tx, b)
	if err == nil {
		err = k.raiseLowWater(ctx, tx, b)
	}
	if err == nil {
		err = do(tx, k)
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (p *Once) read(ctx context.Context, tx *sql.Tx, b dtc.Branch) (*known, error) {
	k, x, log := &known{}, b.XID.String(), b.XID.Log.String()
	var low string
	err := tx.QueryRowContext(ctx, `SELECT incarnation, low,
		(SELECT count(*) FROM once_sealed WHERE xid = ?),
		coalesce((SELECT state FROM dtc_guard_branch WHERE participant = ? AND xid = ?), '')
		FROM once_fence WHERE log = ?`, x, p.ID(), x, log).Scan(&k.fence, &low, &k.sealed, &k.guarded)
	if err == nil && low != "" {
		k.lowWater, err = dtc.ParseXID(low)
	}
	if err != nil {
		return nil, err
	}
	err = tx.QueryRowContext(ctx, "SELECT xid, request, vote FROM once_proof WHERE log = ? AND tx = ?", log, b.TxID).
		Scan(&k.xid, &k.request, &k.vote)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return k, err
}

// raiseLowWater keeps the highest low water that came with a call.
func (k *known) raiseLowWater(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	if b.LowWater.IsZero() || b.LowWater.Log != b.XID.Log || b.LowWater.Compare(k.lowWater) <= 0 {
		return nil
	}
	k.lowWater = b.LowWater
	_, err := tx.ExecContext(ctx, "UPDATE once_fence SET low = ? WHERE log = ?", k.lowWater.String(), k.lowWater.Log.String())
	return err
}

// again answers a call for an id that was committed in one phase.
func (k *known) again(b dtc.Branch, vote dtc.Vote) (dtc.Vote, error) {
	if !k.serves(b) {
		return dtc.VoteAbort, dtc.Refuse(fmt.Errorf("%w: %s was committed for another request", dtc.ErrTxConflict, b.TxID))
	}
	return vote, nil
}

func seal(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO once_sealed VALUES (?) ON CONFLICT DO NOTHING", b.XID.String())
	return err
}
