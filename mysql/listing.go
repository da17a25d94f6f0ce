package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/dtc-project/dtc"
)

// Listing implements [dtc.Lister].
func (d *Database) Listing() bool { return true }

// InDoubt implements [dtc.Lister]. It returns the branches of this participant that are
// prepared in the server, in whatever schema: an XA transaction belongs to none. When
// they were prepared the server does not say. On a server that is read-only, as a
// replica is, the list proves nothing and is an error here.
func (d *Database) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	list, err := d.recoverable(ctx, d.finish)
	if err != nil {
		return nil, err
	}
	var all []dtc.InDoubtBranch
	for _, l := range list {
		x, ok := l.ours(d.id)
		if ok && x.Log == log {
			all = append(all, dtc.InDoubtBranch{XID: x})
		}
	}
	return all, nil
}

// listed reports whether the branch is prepared. Its error is no answer.
func (d *Database) listed(ctx context.Context, q querier, b dtc.Branch) (bool, error) {
	list, err := d.recoverable(ctx, q)
	if err != nil {
		return false, dtc.NoAnswer(err)
	}
	for _, l := range list {
		if x, ok := l.ours(b.Participant); ok && x == b.XID {
			return true, nil
		}
	}
	return false, nil
}

// entry is a line of XA RECOVER.
type entry struct {
	format       int64
	gtrid, bqual string
}

// ours returns the XID of a branch of that participant. Whatever else is prepared in the
// server is not touched.
func (e entry) ours(participant string) (dtc.XID, bool) {
	if e.format != formatID || e.bqual != participant || !strings.HasPrefix(e.gtrid, "dtc.") {
		return dtc.XID{}, false
	}
	x, err := dtc.ParseXID(e.gtrid)
	return x, err == nil
}

// recoverable returns all that is prepared in the server, from one listing.
func (d *Database) recoverable(ctx context.Context, q querier) (all []entry, err error) {
	fail := func(err error) ([]entry, error) {
		return nil, fmt.Errorf("mysql: %s: list prepared branches: %w", d.id, safe(err))
	}
	rows, err := q.QueryContext(ctx, "XA RECOVER")
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e entry
		var gtrid, bqual int
		var data string
		if err := rows.Scan(&e.format, &gtrid, &bqual, &data); err != nil {
			return fail(err)
		}
		if gtrid >= 0 && bqual >= 0 && gtrid+bqual == len(data) { // else not of our characters
			e.gtrid, e.bqual = data[:gtrid], data[gtrid:]
			all = append(all, e)
		}
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	// Asked after the list: a server that is writable now was so when it listed, unless
	// it was promoted in between, and then its list is the one it begins with.
	var readOnly bool
	if err := q.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly); err != nil {
		return fail(err)
	}
	if readOnly {
		return nil, fmt.Errorf("mysql: %s: the server is read-only, as a replica is: its list of prepared branches proves nothing", d.id)
	}
	return all, nil
}
