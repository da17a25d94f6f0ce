package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
)

const (
	pruneBatch   = 500             // rows dropped by one transaction
	pruneTimeout = 2 * time.Second // of the part that runs inside somebody's call
)

// noteLowWater remembers the highest low water seen. It answers nothing until it has
// been stored.
func (d *Database) noteLowWater(b dtc.Branch) {
	lw := b.LowWater
	if lw.IsZero() || lw.Log != b.XID.Log {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.low[lw.Log]; !ok || old.Compare(lw) < 0 {
		d.low[lw.Log] = lw
	}
}

// below reports whether the branch lies below the low water that is stored.
func (d *Database) below(ctx context.Context, q querier, b dtc.Branch) (bool, error) {
	lw, err := d.storedLowWater(ctx, q, b.XID.Log)
	return err == nil && !lw.IsZero() && b.XID.Compare(lw) < 0, err
}

// reading is one look at low water, for all who have asked before it began.
type reading struct {
	done chan struct{}
	low  dtc.XID
	err  error
}

// freshLowWater returns what is stored now or later. Calls that come while another one
// reads share the next look.
func (d *Database) freshLowWater(ctx context.Context, log dtc.LogID) (dtc.XID, error) {
	d.mu.Lock()
	next, others := d.next[log], true
	if next == nil {
		next, others = &reading{done: make(chan struct{})}, false
		d.next[log] = next
	}
	d.mu.Unlock()
	if others {
		select {
		case <-next.done:
			if next.err == nil {
				return next.low, nil
			}
		case <-ctx.Done():
		}
		return d.storedLowWater(ctx, d.finish, log) // it may have been the other's patience
	}
	defer close(next.done)
	select {
	case d.reads <- struct{}{}:
		defer func() { <-d.reads }()
	case <-ctx.Done():
	}
	d.mu.Lock()
	delete(d.next, log) // who comes from here on has not been looked for
	d.mu.Unlock()
	next.low, next.err = d.storedLowWater(ctx, d.finish, log)
	return next.low, next.err
}

func (d *Database) storedLowWater(ctx context.Context, q querier, log dtc.LogID) (dtc.XID, error) {
	var incarnation uint32
	var seq uint64
	err := q.QueryRowContext(ctx, d.q.storedLow(d.id, log)).Scan(&incarnation, &seq)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return dtc.XID{}, nil
	case err != nil:
		return dtc.XID{}, d.noAnswer("read low water", err)
	}
	return dtc.XID{Log: log, Incarnation: dtc.Incarnation{Number: incarnation}, Seq: seq}, nil
}

// countFinished drops rows once in PruneEvery finished branches. The branch is finished
// and its answer stands, so a failure here is only logged.
func (d *Database) countFinished(ctx context.Context, log dtc.LogID) {
	every := int64(d.opts.PruneEvery)
	if every < 0 || d.finished.Add(1) < every || !d.pruning.CompareAndSwap(false, true) {
		return
	}
	defer d.pruning.Store(false)
	d.finished.Store(0)
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	// More than came in since the last time, so that a backlog goes down too.
	if _, err := d.prune(ctx, log, 4*int(every)+pruneBatch); err != nil {
		d.opts.Logger.Warn("mysql: dropping finished rows", "participant", d.id, "error", err.Error())
	}
}

// Prune stores the low water that was seen and drops all rows below it, but for those that
// are remembered, see [Options.RememberOnce], and returns how many. It is called by itself now and then, see [Options.PruneEvery].
func (d *Database) Prune(ctx context.Context) (int, error) {
	d.mu.Lock()
	logs := make([]dtc.LogID, 0, len(d.low))
	for log := range d.low {
		logs = append(logs, log)
	}
	d.mu.Unlock()
	total := 0
	for _, log := range logs {
		n, err := d.prune(ctx, log, int(^uint(0)>>1))
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

func (d *Database) prune(ctx context.Context, log dtc.LogID, limit int) (dropped int, err error) {
	d.mu.Lock()
	seen := d.low[log]
	d.mu.Unlock()
	if !seen.IsZero() {
		if _, err := d.finish.ExecContext(ctx, d.q.raiseLow(d.id, seen)); err != nil {
			return 0, fmt.Errorf("mysql: %s: store low water: %w", d.id, safe(err))
		}
	}
	// What is stored, not what was seen: rows go only under a low water that a late
	// prepare will find.
	lw, err := d.storedLowWater(ctx, d.finish, log)
	if err != nil || lw.IsZero() {
		return 0, err
	}
	for dropped < limit {
		n, err := d.pruneBatch(ctx, lw)
		if dropped += n; err != nil {
			return dropped, fmt.Errorf("mysql: %s: drop finished rows: %w", d.id, safe(err))
		}
		if n < pruneBatch {
			break
		}
	}
	n, err := d.pruneOnce(ctx, lw, limit)
	if err != nil {
		err = fmt.Errorf("mysql: %s: drop rows of one phase: %w", d.id, safe(err))
	}
	return dropped + n, err
}

func (d *Database) pruneBatch(ctx context.Context, lw dtc.XID) (int, error) {
	names, err := texts(d.finish.QueryContext(ctx, d.q.below(d.id, lw, pruneBatch)))
	if err != nil || len(names) == 0 {
		return 0, err
	}
	tx, err := d.finish.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	for i, name := range names {
		names[i] = d.q.drop(name)
	}
	if err := d.execute(ctx, tx, names...); err != nil {
		return 0, err
	}
	return len(names), tx.Commit()
}

// texts reads a column of texts.
func texts(rows *sql.Rows, err error) (all []string, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
