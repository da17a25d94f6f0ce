package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
)

const (
	pruneBatch   = 1000            // rows dropped by one statement
	pruneTimeout = 2 * time.Second // of what is done once in PruneEvery branches
	pruneTries   = 20              // of Prune, within a second
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

// horizon is a low water that is stored, and from where on every snapshot sees it.
type horizon struct {
	low  dtc.XID
	xact int64 // the number of a transaction: all snapshots that have come so far
}

// pruner drops rows by itself, now and then.
type pruner struct {
	finished atomic.Int64 // branches, since it was begun the last time
	busy     atomic.Bool

	life context.Context    // of the database
	stop context.CancelFunc // ends it
	runs sync.WaitGroup     // begun under the database's mutex, before it is closed
}

// countFinished drops rows once in PruneEvery finished branches, beside the call that has
// finished the last of them: to whoever waits for that one they are nothing.
func (d *Database) countFinished(log dtc.LogID) {
	every := int64(d.opts.PruneEvery)
	if every < 0 || d.pruner.finished.Add(1) < every || !d.pruner.busy.CompareAndSwap(false, true) {
		return
	}
	d.pruner.finished.Store(0)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.pruner.runs.Go(func() {
			defer d.pruner.busy.Store(false)
			d.pruneSome(log, every)
		})
	}
}

// pruneSome drops rows of a log. Their branches are finished and their answers stand, so a
// failure is only logged.
func (d *Database) pruneSome(log dtc.LogID, every int64) {
	ctx, cancel := context.WithTimeout(d.pruner.life, pruneTimeout)
	defer cancel()
	// Rows go below the low water of the last time, which all know by now; and more than
	// came in since then, so that a backlog goes down too.
	_, done, err := d.drop(ctx, log, 4*int(every)+pruneBatch)
	if err == nil && done {
		if err = d.raise(ctx, log); err == nil {
			_, _, err = d.drop(ctx, log, pruneBatch) // nobody works: there is no next time soon
		}
	}
	if err == nil {
		_, err = d.dropEvidence(ctx, log, 4*every/rowsPerBlock+1)
	}
	if err != nil && d.pruner.life.Err() == nil {
		d.opts.Logger.Warn("postgres: dropping finished rows", "participant", d.id, "error", err.Error())
	}
}

// Prune stores the low water that was seen and drops the rows below it, and returns how
// many. Where a session works on a state of the database that is older than that, its
// rows stay for another time, after Prune has waited for a second. It is called by itself
// now and then, see [Options.PruneEvery].
func (d *Database) Prune(ctx context.Context) (int, error) {
	d.mu.Lock()
	logs := make([]dtc.LogID, 0, len(d.low))
	for log := range d.low {
		logs = append(logs, log)
	}
	d.mu.Unlock()
	total := 0
	for _, log := range logs {
		if err := d.raise(ctx, log); err != nil {
			return total, err
		}
		for range pruneTries {
			n, done, err := d.drop(ctx, log, int(^uint(0)>>1))
			if total += n; err != nil {
				return total, err
			}
			if done {
				n, err := d.dropEvidence(ctx, log, 0)
				if total += n; err != nil {
					return total, err
				}
				break
			}
			select {
			case <-ctx.Done():
				return total, ctx.Err()
			case <-time.After(time.Second / pruneTries):
			}
		}
	}
	return total, nil
}

// raise stores the low water that was seen.
func (d *Database) raise(ctx context.Context, log dtc.LogID) error {
	d.mu.Lock()
	seen := d.low[log]
	d.mu.Unlock()
	if seen.IsZero() {
		return nil
	}
	if _, err := d.finish.Exec(ctx, d.q.raiseLow, d.id, log.String(), int64(seen.Incarnation.Number), int64(seen.Seq)); err != nil {
		return fmt.Errorf("postgres: %s: store low water: %w", d.id, safe(err))
	}
	// What is stored, not what was seen: rows go only under a low water that a late
	// prepare will find.
	low, err := d.storedLowWater(ctx, log)
	if err != nil || low.IsZero() {
		return err
	}
	h := horizon{low: low}
	if err := d.finish.QueryRow(ctx, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").Scan(&h.xact); err != nil {
		return fmt.Errorf("postgres: %s: store low water: %w", d.id, safe(err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.horizons[log] = h
	return nil
}

// drop drops rows below the low water that was stored, up to about a limit, and reports
// whether none is left. It drops none while a session has a snapshot that is too old to see
// that low water, as one of a transaction that is repeatable read has: a late prepare in it
// would find neither the row nor low water.
func (d *Database) drop(ctx context.Context, log dtc.LogID, limit int) (dropped int, done bool, err error) {
	h, ok, err := d.passable(ctx, log)
	if err != nil || !ok {
		return 0, err == nil && h.low.IsZero(), err
	}
	for dropped < limit {
		tag, err := d.finish.Exec(ctx, d.q.prune, d.id, log.String(), int64(h.low.Incarnation.Number), int64(h.low.Seq), pruneBatch)
		if err != nil {
			return dropped, false, fmt.Errorf("postgres: %s: drop finished rows: %w", d.id, safe(err))
		}
		dropped += int(tag.RowsAffected())
		if tag.RowsAffected() < pruneBatch {
			return dropped, true, nil
		}
	}
	return dropped, false, nil
}

// passable returns the horizon of a log, and whether rows below it may go: it is zero if
// there is none.
func (d *Database) passable(ctx context.Context, log dtc.LogID) (h horizon, ok bool, err error) {
	d.mu.Lock()
	h, ok = d.horizons[log]
	d.mu.Unlock()
	if !ok {
		return h, false, nil
	}
	var old bool
	if err := d.finish.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"+
		" AND backend_type = 'client backend' AND age(backend_xmin) > pg_snapshot_xmax(pg_current_snapshot())::text::bigint - $1)", h.xact).Scan(&old); err != nil {
		return h, false, fmt.Errorf("postgres: %s: look for old snapshots: %w", d.id, safe(err))
	}
	return h, !old, nil
}
