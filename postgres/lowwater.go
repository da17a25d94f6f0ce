package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
)

const (
	pruneBatch   = 1000            // rows dropped by one statement
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
func (d *Database) below(ctx context.Context, b dtc.Branch) (bool, error) {
	lw, err := d.storedLowWater(ctx, b.XID.Log)
	return err == nil && !lw.IsZero() && b.XID.Compare(lw) < 0, err
}

func (d *Database) storedLowWater(ctx context.Context, log dtc.LogID) (dtc.XID, error) {
	var incarnation, seq int64
	err := d.finish.QueryRow(ctx, d.q.storedLow, d.id, log.String()).Scan(&incarnation, &seq)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return dtc.XID{}, nil
	case err != nil:
		return dtc.XID{}, d.noAnswer("read low water", err)
	}
	return dtc.XID{Log: log, Incarnation: dtc.Incarnation{Number: uint32(incarnation)}, Seq: uint64(seq)}, nil
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
		d.opts.Logger.Warn("postgres: dropping finished rows", "participant", d.id, "error", err.Error())
	}
}

// Prune stores the low water that was seen and drops all rows below it, and returns how
// many. It is called by itself now and then, see [Options.PruneEvery].
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
		if _, err := d.finish.Exec(ctx, d.q.raiseLow, d.id, log.String(), int64(seen.Incarnation.Number), int64(seen.Seq)); err != nil {
			return 0, fmt.Errorf("postgres: %s: store low water: %w", d.id, safe(err))
		}
	}
	// What is stored, not what was seen: rows go only under a low water that a late
	// prepare will find.
	lw, err := d.storedLowWater(ctx, log)
	if err != nil || lw.IsZero() {
		return 0, err
	}
	for dropped < limit {
		tag, err := d.finish.Exec(ctx, d.q.prune, d.id, log.String(), int64(lw.Incarnation.Number), int64(lw.Seq), pruneBatch)
		if err != nil {
			return dropped, fmt.Errorf("postgres: %s: drop finished rows: %w", d.id, safe(err))
		}
		dropped += int(tag.RowsAffected())
		if tag.RowsAffected() < pruneBatch {
			break
		}
	}
	return dropped, nil
}
