package simdb

import (
	"cmp"
	"fmt"
	"slices"
)

// Row is a row by the names of its columns: int64, string, []byte or nil.
type Row map[string]any

// Branch is a row of a guard's table.
type Branch struct {
	Participant, XID, State, Reason string
}

// Rows returns the committed rows of a table in the order of their values; none if
// there is no such table.
func (db *DB) Rows(name string) []Row {
	db.mu.Lock()
	defer db.mu.Unlock()
	tab := db.tables[name]
	if tab == nil {
		return nil
	}
	var found [][]any
	for _, r := range tab.rows {
		if r.committed != nil {
			found = append(found, r.committed)
		}
	}
	slices.SortStableFunc(found, func(a, b []any) int {
		for i := range a {
			if c := compareValues(a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	})
	all := make([]Row, len(found))
	for i, values := range found {
		all[i] = Row{}
		for at, c := range tab.columns {
			all[i][c.name] = values[at]
		}
	}
	return all
}

// compareValues puts NULL first.
func compareValues(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(boolInt(a != nil), boolInt(b != nil))
	}
	c, _ := order(a, b)
	return c
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Branches returns the committed rows of the guard's table of the given prefix, by
// participant and XID.
func (db *DB) Branches(prefix string) []Branch {
	var all []Branch
	for _, r := range db.Rows(prefix + "_branch") {
		text := func(name string) string { return fmt.Sprint(r[name]) }
		all = append(all, Branch{text("participant"), text("xid"), text("state"), text("reason")})
	}
	return all
}

// Changes counts the transactions that have taken effect and changed something: as
// long as it is the same, so is everything committed.
func (db *DB) Changes() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.changes
}

// Busy returns how many transactions are open, and how many statements wait for one.
func (db *DB) Busy() (transactions, waiting int) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.txs), len(db.waiting)
}
