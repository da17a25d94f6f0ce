package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc"
)

// Listing implements [dtc.Lister].
func (d *Database) Listing() bool { return true }

// InDoubt implements [dtc.Lister]. It returns the branches of this participant that
// are prepared in this database. The server's list is one snapshot, so it is complete;
// a standby's is empty by design and is an error here.
func (d *Database) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	// The first column comes with every row, also with none but itself.
	rows, err := d.finish.Query(ctx, `SELECT pg_is_in_recovery(), p.gid, p.prepared
		FROM (SELECT) AS one LEFT JOIN pg_prepared_xacts AS p
		ON p.database = current_database() AND starts_with(p.gid, $1)`, "dtc."+log.String()+".")
	if err != nil {
		return nil, fmt.Errorf("postgres: %s: list prepared transactions: %w", d.id, safe(err))
	}
	type line struct {
		Standby  bool
		Name     *string
		Prepared *time.Time
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	if err != nil {
		return nil, fmt.Errorf("postgres: %s: list prepared transactions: %w", d.id, safe(err))
	}
	var all []dtc.InDoubtBranch
	for _, l := range lines {
		if l.Standby {
			return nil, fmt.Errorf("postgres: %s: the server is a standby, whose list of prepared transactions proves nothing", d.id)
		}
		if l.Name == nil {
			continue
		}
		xid, participant, ok := parseName(*l.Name)
		if !ok || participant != d.id {
			continue // another participant's, or nobody's
		}
		all = append(all, dtc.InDoubtBranch{XID: xid, PreparedAt: *l.Prepared})
	}
	return all, nil
}
