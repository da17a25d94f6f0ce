package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
)

const listPage = 500

// Listing implements [dtc.Lister]: what a guard holds stands in its table.
func (g *Guard) Listing() bool { return true }

// InDoubt implements [dtc.Lister]. It reads page by page in the order of keys
// that never change, so that a branch which was prepared before the call and
// stays so is in one of the pages, whatever happens meanwhile.
func (g *Guard) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	var all []dtc.InDoubtBranch
	for {
		page, err := g.listPage(ctx, log, all)
		if err != nil {
			return nil, fmt.Errorf("guard: listing branches in doubt: %w", err)
		}
		all = append(all, page...)
		if len(page) < listPage {
			return all, nil
		}
	}
}

func (g *Guard) listPage(ctx context.Context, log dtc.LogID, before []dtc.InDoubtBranch) ([]dtc.InDoubtBranch, error) {
	tx, err := g.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	if g.d.listsFromReplica {
		// A replica that lags behind would answer with an incomplete list, and
		// cannot execute this.
		if _, err := tx.ExecContext(ctx, g.sql.onlyPrimary); err != nil {
			return nil, err
		}
	}
	after := dtc.XID{Log: log}
	var incarnation, seq int64
	var xid string // the empty text is below every name
	if len(before) > 0 {
		after = before[len(before)-1].XID
		incarnation, seq, xid = int64(after.Incarnation.Number), int64(after.Seq), after.String()
	}
	rows, err := tx.QueryContext(ctx, g.sql.list, g.id, log.String(),
		incarnation, incarnation, seq, seq, xid, listPage)
	if err != nil {
		return nil, err
	}
	var page []dtc.InDoubtBranch
	err = each(rows, func() error {
		var name string
		var at int64
		if err := rows.Scan(&name, &at); err != nil {
			return err
		}
		x, err := dtc.ParseXID(name)
		if err == nil && x.Log != log {
			err = fmt.Errorf("row of %s stands under log %s", name, log)
		}
		page = append(page, dtc.InDoubtBranch{XID: x, PreparedAt: time.UnixMicro(at)})
		return err
	})
	return page, err
}
