package guard

import (
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/canary"
)

const (
	pruneBatch   = 256             // rows dropped in one transaction: short, for SQLite's single writer
	pruneTimeout = 2 * time.Second // of the part that runs inside somebody's call
)

// noteLowWater remembers the highest low water seen. It answers nothing until
// Prune has stored it.
func (g *Guard) noteLowWater(b dtc.Branch) {
	lw := b.LowWater
	if lw.IsZero() || lw.Log != b.XID.Log || lw.Seq > math.MaxInt64 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.lowWater[lw.Log]; !ok || old.Compare(lw) < 0 {
		g.lowWater[lw.Log] = lw
	}
}

func (g *Guard) seenLowWater(log dtc.LogID) dtc.XID {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lowWater[log]
}

// countFinished drops rows once in PruneEvery finished branches. The branch is
// finished and its answer stands, so a failure here is only logged.
func (g *Guard) countFinished(ctx context.Context, log dtc.LogID) {
	every := int64(g.opts.PruneEvery)
	if every < 0 || g.finished.Add(1) < every || !g.pruning.CompareAndSwap(false, true) {
		return
	}
	defer g.pruning.Store(false)
	g.finished.Store(0)
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	// More than came in since the last time, so that a backlog goes down too.
	if _, err := g.prune(ctx, log, 4*int(every)+pruneBatch); err != nil {
		g.opts.Logger.Warn("guard: dropping finished rows", "participant", g.id, "log", log.String(), "err", err)
	}
}

// Prune stores the low water that was seen for each log, then drops all finished
// rows below it, and returns how many. It is called by itself now and then, see
// [Options.PruneEvery]; calling it is only needed to drop everything at once.
func (g *Guard) Prune(ctx context.Context) (int, error) {
	g.mu.Lock()
	logs := make([]dtc.LogID, 0, len(g.lowWater))
	for log := range g.lowWater {
		logs = append(logs, log)
	}
	g.mu.Unlock()
	total := 0
	for _, log := range logs {
		n, err := g.prune(ctx, log, math.MaxInt)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (g *Guard) prune(ctx context.Context, log dtc.LogID, limit int) (dropped int, err error) {
	if seen := g.seenLowWater(log); !seen.IsZero() && !canary.On(canary.PruneUnstored) {
		if err := g.storeLowWater(ctx, seen); err != nil {
			return 0, err
		}
	}
	// What is stored and committed, not what was seen: rows go only under a low
	// water that a late prepare will find.
	lw, err := g.storedLowWater(ctx, g.db, log)
	if canary.On(canary.PruneUnstored) {
		lw = g.seenLowWater(log)
	}
	if err != nil || lw.IsZero() {
		return 0, err
	}
	states := []string{stateCommitted, stateRolledBack, stateAborted, stateReadOnly}
	if canary.On(canary.PrunePrepared) {
		states = append(states, statePrepared)
	}
	for _, state := range states {
		for dropped < limit {
			n, err := g.dropBatch(ctx, lw, state)
			dropped += n
			if err != nil {
				return dropped, err
			}
			if n < pruneBatch {
				break
			}
		}
	}
	return dropped, nil
}

// storeLowWater raises the stored low water to lw, never lowers it, and is alone
// in its transaction. Updating first keeps concurrent calls from deadlocking over
// an insert that fails on the key.
func (g *Guard) storeLowWater(ctx context.Context, lw dtc.XID) error {
	log, incarnation, seq := lw.Log.String(), int64(lw.Incarnation.Number), int64(lw.Seq)
	stored, err := g.storedLowWater(ctx, g.db, lw.Log)
	if err != nil || (!stored.IsZero() && stored.Compare(lw) >= 0) {
		return err
	}
	for range 2 {
		raised, err := affectedOne(g.db.ExecContext(ctx, g.sql.raiseLowWater,
			incarnation, seq, g.id, log, incarnation, incarnation, seq))
		if err != nil || raised {
			return err
		}
		inserted, err := affectedOne(g.db.ExecContext(ctx, g.sql.insertLowWater, g.id, log, incarnation, seq))
		if err != nil || inserted {
			return err
		}
		// Somebody else inserted it first, perhaps lower: raise it.
	}
	return nil
}

// dropBatch drops up to pruneBatch rows of one final state. They are picked by a
// plain read and deleted by key, so that no range is locked; a final state never
// changes in between, and the delete looks again that none is prepared.
func (g *Guard) dropBatch(ctx context.Context, lw dtc.XID, state string) (int, error) {
	incarnation, seq := int64(lw.Incarnation.Number), int64(lw.Seq)
	rows, err := g.db.QueryContext(ctx, g.sql.prunable, g.id, lw.Log.String(), state,
		incarnation, incarnation, seq, pruneBatch)
	if err != nil {
		return 0, err
	}
	args := []any{g.id}
	if err := each(rows, func() error {
		var xid string
		err := rows.Scan(&xid)
		args = append(args, xid)
		return err
	}); err != nil || len(args) == 1 {
		return 0, err
	}
	if _, err := g.db.ExecContext(ctx, g.deleteXIDs(len(args)-1), args...); err != nil {
		return 0, err
	}
	return len(args) - 1, nil
}

// each calls f for every row and closes rows.
func each(rows *sql.Rows, f func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}
