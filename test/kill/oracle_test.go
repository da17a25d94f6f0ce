package kill_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// The states of a token.
const (
	none  = 0
	held  = 1
	final = 2
)

// effects are the tokens of one attempt (one XID) at each service.
type effects [len(services)]int

func (e effects) any(state int) bool { return slices.Contains(e[:], state) }

// look reads all files while no process uses them and holds them against the
// ledger. At rest, when nothing is unfinished, a transaction must be everywhere
// or nowhere; before that, what was decided must at least be held everywhere.
func (l *loop) look(atRest bool) error {
	l.counts.checks++
	found := map[dtc.TxID]map[string]effects{}
	for i := range services {
		if err := l.readTokens(i, found, atRest); err != nil {
			return err
		}
	}
	for id, attempts := range found {
		l.judge(id, attempts, atRest)
	}
	for _, id := range l.order {
		if len(found[id]) == 0 {
			l.judge(id, nil, atRest)
		}
	}
	return l.readLog(atRest)
}

// readTokens reads the tokens of one service, and whether anything is prepared.
func (l *loop) readTokens(service int, found map[dtc.TxID]map[string]effects, atRest bool) error {
	db, err := openDatabase(l.dir, service)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query("SELECT tx, xid, applied FROM token")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id dtc.TxID
		var xid string
		var applied int
		if err := rows.Scan(&id, &xid, &applied); err != nil {
			return err
		}
		if found[id] == nil {
			found[id] = map[string]effects{}
		}
		e := found[id][xid]
		if e[service] != none {
			l.fail("%s at %s: prepared twice", id, services[service])
		}
		if applied > 1 {
			l.fail("%s at %s: committed %d times", id, services[service], applied)
		}
		e[service] = held + min(applied, 1)
		found[id][xid] = e
	}
	if err := rows.Err(); err != nil || !atRest {
		return err
	}
	var prepared int
	err = db.QueryRow("SELECT count(*) FROM dtc_guard_branch WHERE state = 'prepared'").Scan(&prepared)
	if prepared > 0 {
		l.fail("%d branches are still prepared at %s", prepared, services[service])
	}
	return err
}

// judge holds what one transaction left behind against what was told.
func (l *loop) judge(id dtc.TxID, attempts map[string]effects, atRest bool) {
	shape, known := shapeOf(id), ""
	if t := l.tales[id]; t != nil {
		known = t.known
	} else if atRest {
		l.fail("%s: nobody began it, and it left %v", id, attempts)
		return
	}
	decided, complete := 0, 0
	for xid, e := range attempts {
		whole := true
		for i, kind := range shape {
			if kind != writes && e[i] != none {
				l.fail("%s at %s: a branch of kind %c left something", id, services[i], kind)
			}
			whole = whole && (kind != writes || e[i] != none)
		}
		if e.any(final) {
			decided++
			if !whole {
				l.fail("%s (%s): committed here and not there: %v", id, xid, e)
			}
		}
		if whole {
			complete++
		}
		if atRest && e.any(held) {
			l.fail("%s (%s): still held: %v", id, xid, e)
		}
	}
	switch {
	case decided > 1:
		l.fail("%s: committed %d times, under several XIDs", id, decided)
	case decided > 0 && known == rolledBack:
		l.fail("%s: told rolled back, and committed: %v", id, attempts)
	case known != committed || !strings.ContainsRune(shape, writes):
	case complete == 0, atRest && decided == 0:
		l.fail("%s: told committed, and not there: %v", id, attempts)
	}
}

// readLog verifies the log, and looks for an id that committed twice.
func (l *loop) readLog(atRest bool) error {
	r, err := wal.OpenReadOnly(filepath.Join(l.dir, "log"), nil)
	var missing *wal.NoLogError
	if errors.As(err, &missing) && !atRest {
		return nil // killed before there was one
	}
	if err != nil {
		return err
	}
	report, err := r.Verify()
	if err != nil {
		l.fail("the log does not verify: %v", err)
	}
	if atRest && !report.Clean {
		l.fail("the log was closed and is not clean: %+v", report)
	}
	// Nobody has it open now: two decoders that share no code read the same, and
	// every record can stand where it stands.
	if res, err := compare.Log(filepath.Join(l.dir, "log"), vfs.OS{}); err != nil {
		l.fail("%v", err)
	} else if res.SecondRefused != nil {
		l.fail("the log is not sound: %v", res.SecondRefused)
	}
	l.counts.segments, l.counts.records = report.Segments, report.Records
	ids, commits := map[txlog.Ref]string{}, map[string]int{}
	return r.Replay(func(e txlog.Entry) error {
		switch rec := e.Record.(type) {
		case *txlog.Prepare:
			ids[rec.Ref] = rec.TxID
		case *txlog.Commit:
			id := ids[rec.Ref]
			if commits[id]++; commits[id] > 1 {
				l.fail("%s: the log holds %d commit decisions", id, commits[id])
			}
		}
		return nil
	})
}
