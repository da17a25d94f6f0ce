package mysql

import (
	"context"
	"time"

	"github.com/dtc-project/dtc"
)

// pruneOnce drops what is below low water of the rows of one phase: what is sealed, and of
// what is committed all that is older than the time for which ids are remembered.
func (d *Database) pruneOnce(ctx context.Context, lw dtc.XID, limit int) (dropped int, err error) {
	for _, what := range []struct {
		state string
		age   time.Duration
	}{{stateSealed, 0}, {stateCommitted, d.opts.RememberOnce}} {
		for n := pruneBatch; n == pruneBatch && dropped < limit; dropped += n {
			if n, err = d.pruneOnceBatch(ctx, lw, what.state, what.age); err != nil {
				return dropped, err
			}
		}
	}
	if i, ok := d.fencedOff(dtc.XID{Log: lw.Log}); ok && i.earlier && dropped > 0 {
		d.unfence(lw.Log) // so that it is looked whether there are still some
	}
	return dropped, nil
}

// onceDrop is a row to be dropped.
type onceDrop struct {
	id  string // in hexadecimal
	xid dtc.XID
}

func (d *Database) pruneOnceBatch(ctx context.Context, lw dtc.XID, state string, age time.Duration) (int, error) {
	all, err := d.onceOld(ctx, d.q.onceBelow(d.id, lw, state, age, pruneBatch), state == stateSealed, lw.Log)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	var last dtc.XID
	if state == stateCommitted {
		last = all[len(all)-1].xid
	}
	// First it is said what goes, then it goes: whoever finds no row reads this, under a
	// lock. The lock that is taken here keeps those that commit waiting, so it is short.
	if _, err := d.finish.ExecContext(ctx, d.q.fencePass(d.id, lw, last)); err != nil {
		return 0, err
	}
	tx, err := d.finish.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	drops := make([]string, len(all))
	for i, o := range all {
		drops[i] = d.q.onceDrop(d.id, o.xid, o.id, state)
	}
	if err := d.execute(ctx, tx, drops...); err != nil {
		return 0, err
	}
	return len(all), tx.Commit()
}

// onceOld returns the rows that may go, in their order: up to the first that is too young.
func (d *Database) onceOld(ctx context.Context, query string, young bool, log dtc.LogID) (all []onceDrop, err error) {
	rows, err := d.finish.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		o, old := onceDrop{xid: dtc.XID{Log: log}}, false
		if err := rows.Scan(&o.id, &o.xid.Incarnation.Number, &o.xid.Seq, &old); err != nil {
			return nil, err
		}
		if !old && !young {
			break
		}
		all = append(all, o)
	}
	return all, rows.Err()
}
