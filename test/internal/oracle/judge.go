package oracle

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/dtc-project/dtc"
)

// Effect is the state of a token.
type Effect int

// The states of a token.
const (
	None  Effect = iota
	Held         // prepared
	Final        // committed
)

// Effects are the tokens of one attempt (one XID), by participant.
type Effects []Effect

// Any reports whether a token is in a state.
func (e Effects) Any(state Effect) bool { return slices.Contains(e, state) }

// Found are the tokens of all transactions, by id and XID.
type Found map[dtc.TxID]map[string]Effects

// Read adds the tokens of the participant number i of n to what was found, and returns
// what is wrong with them.
func (f Found) Read(db *sql.DB, i, n int) (wrong []string, err error) {
	rows, err := db.Query("SELECT tx, xid, applied FROM token")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id dtc.TxID
		var xid string
		var applied int
		if err := rows.Scan(&id, &xid, &applied); err != nil {
			return wrong, err
		}
		if f[id] == nil {
			f[id] = map[string]Effects{}
		}
		if f[id][xid] == nil {
			f[id][xid] = make(Effects, n)
		}
		e := f[id][xid]
		if e[i] != None {
			wrong = append(wrong, fmt.Sprintf("%s: prepared twice at participant %d", id, i))
		}
		if applied > 1 {
			wrong = append(wrong, fmt.Sprintf("%s: committed %d times at participant %d", id, applied, i))
		}
		e[i] = Held + Effect(min(applied, 1))
	}
	return wrong, rows.Err()
}

// The outcomes that count. A rolled back transaction that was forgotten may run again,
// under another XID.
const (
	Committed  = "committed"
	RolledBack = "rolled_back"
)

// Judge holds what one transaction left behind against what was told, and returns what
// is wrong. told is the outcome that holds now, or "" if nobody can know. At rest, when
// nothing is unfinished, a transaction must be everywhere or nowhere; before that, what
// was decided must at least be held everywhere.
func Judge(id dtc.TxID, shape, told string, attempts map[string]Effects, atRest bool) (wrong []string) {
	fail := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s: ", id)+fmt.Sprintf(format, args...))
	}
	decided, complete := 0, 0
	for xid, e := range attempts {
		whole := true
		for i, kind := range shape {
			if kind != Writes && e[i] != None {
				fail("a branch of kind %c left something at participant %d", kind, i)
			}
			whole = whole && (kind != Writes || e[i] != None)
		}
		if e.Any(Final) {
			decided++
			if !whole {
				fail("(%s) committed here and not there: %v", xid, e)
			}
		}
		if whole {
			complete++
		}
		if atRest && e.Any(Held) {
			fail("(%s) still held: %v", xid, e)
		}
	}
	switch {
	case decided > 1:
		fail("committed %d times, under several XIDs", decided)
	case decided > 0 && told == RolledBack:
		fail("told rolled back, and committed: %v", attempts)
	case told != Committed || !strings.ContainsRune(shape, Writes):
	case complete == 0, atRest && decided == 0:
		fail("told committed, and not there: %v", attempts)
	}
	return wrong
}
