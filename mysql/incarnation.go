package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/dtc-project/dtc"
)

// incarnation is one of a log that was fenced off: none before it can commit in one phase.
type incarnation struct {
	number  uint32
	earlier bool // something that one before it has committed in one phase is remembered
}

// fenceOff makes sure, once for each incarnation, that no earlier one can commit in one
// phase any more, and returns what is known of the log. It waits for those that are just
// committing, which takes no client. Its error is no answer.
func (d *Database) fenceOff(ctx context.Context, x dtc.XID) (incarnation, error) {
	if i, ok := d.fencedOff(x); ok {
		return i, nil
	}
	select {
	case d.fencing <- struct{}{}:
		defer func() { <-d.fencing }()
	case <-ctx.Done():
		return incarnation{}, dtc.NoAnswer(ctx.Err())
	}
	if i, ok := d.fencedOff(x); ok { // while this call waited
		return i, nil
	}
	i, err := d.raiseFence(ctx, x)
	if err != nil {
		return incarnation{}, dtc.NoAnswer(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fenced[x.Log] = i
	return i, nil
}

func (d *Database) fencedOff(x dtc.XID) (incarnation, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.fenced[x.Log]
	return i, ok && i.number >= x.Incarnation.Number
}

// unfence forgets what is known of a log, which the next call then looks up.
func (d *Database) unfence(log dtc.LogID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.fenced, log)
}

func (d *Database) raiseFence(ctx context.Context, x dtc.XID) (incarnation, error) {
	stands, _, err := d.fenceStands(ctx, x.Log)
	if err != nil {
		return incarnation{}, err
	}
	for n := x.Incarnation.Number; stands < n || stands == 0; {
		for _, raise := range []string{d.q.fenceRaise(d.id, x.Log, n), d.q.fenceInsert(d.id, x.Log, n)} {
			if _, err := d.finish.ExecContext(ctx, raise); err != nil {
				return incarnation{}, d.failed("shut out earlier incarnations", err)
			}
		}
		if stands, _, err = d.fenceStands(ctx, x.Log); err != nil || n == 0 {
			break
		}
	}
	i := incarnation{number: stands}
	if err == nil {
		if err := d.kept(ctx, d.finish); err != nil { // another process may have raised it
			return incarnation{}, err
		}
		err = d.finish.QueryRowContext(ctx, d.q.onceEarlier(d.id, x.Log, stands)).Scan(&i.earlier)
	}
	if err != nil {
		return incarnation{}, d.failed("look for earlier incarnations", err)
	}
	return i, nil
}

// fenceStands returns the highest incarnation that was let in, 0 if there was none, and the
// low water below which rows of what was done in one phase were dropped.
func (d *Database) fenceStands(ctx context.Context, log dtc.LogID) (number uint32, low dtc.XID, err error) {
	low.Log = log
	err = d.finish.QueryRowContext(ctx, d.q.fenceRow(d.id, log)).Scan(&number, &low.Incarnation.Number, &low.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, low, nil
	}
	if err != nil {
		return 0, low, fmt.Errorf("mysql: %s: read the fence: %w", d.id, safe(err))
	}
	return number, low, nil
}
