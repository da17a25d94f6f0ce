package postgres

import (
	"context"
	"fmt"

	"github.com/dtc-project/dtc"
)

const (
	rowsPerBlock = 32  // of the evidence: less than go into one
	sweepBlocks  = 512 // looked through by one statement
)

// dropEvidence goes on through the table of the evidence, from where it was the last time and
// about as many blocks as are given, and from its beginning to its end if that is 0. It drops
// rows below the low water that was stored: what is sealed, since low water refuses what
// comes late, and what was committed longer ago than ids are kept. No index tells which
// these are, for it would cost each branch more than going round the table does.
func (d *Database) dropEvidence(ctx context.Context, log dtc.LogID, blocks int64) (dropped int, err error) {
	h, ok, err := d.passable(ctx, log)
	if err != nil || !ok {
		return 0, err
	}
	var size int64
	err = d.finish.QueryRow(ctx, "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint", d.q.once.name).Scan(&size)
	if err != nil {
		return 0, fmt.Errorf("postgres: %s: look at the size of the evidence: %w", d.id, safe(err))
	}
	d.mu.Lock()
	from := d.swept[log]
	d.mu.Unlock()
	if blocks == 0 || from >= size {
		from = 0
	}
	end := size
	if blocks > 0 {
		end = min(from+blocks, size)
	}
	for ; from < end; from += sweepBlocks {
		var n int
		err := d.finish.QueryRow(ctx, d.q.once.prune, d.id, log.String(), int64(h.low.Incarnation.Number), int64(h.low.Seq),
			fmt.Sprintf("(%d,0)", from), fmt.Sprintf("(%d,0)", min(from+sweepBlocks, end)), d.opts.RememberOnce.Seconds()).Scan(&n)
		if err != nil {
			return dropped, fmt.Errorf("postgres: %s: drop old evidence: %w", d.id, safe(err))
		}
		dropped += n
	}
	d.mu.Lock()
	d.swept[log] = end
	d.mu.Unlock()
	return dropped, nil
}
