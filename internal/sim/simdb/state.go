package simdb

// State returns the committed state of a branch in the guard's table of the given
// prefix, or nothing if no row stands. It is [DB.Branches] for one who asks often.
func (db *DB) State(prefix, participant, xid string) string {
	db.mu.Lock()
	defer db.mu.Unlock()
	tab := db.tables[prefix+"_branch"]
	if tab == nil {
		return ""
	}
	whose, which, state := tab.at("participant"), tab.at("xid"), tab.at("state")
	for _, r := range tab.rows {
		if r.committed != nil && r.committed[whose] == participant && r.committed[which] == xid {
			return r.committed[state].(string)
		}
	}
	return ""
}

func (tab *table) at(column string) int {
	for i, c := range tab.columns {
		if c.name == column {
			return i
		}
	}
	panic("simdb: " + tab.name + " has no column " + column)
}
