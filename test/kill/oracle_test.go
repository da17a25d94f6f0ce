package kill_test

import (
	"errors"
	"path/filepath"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/wal"
)

// look reads all files while no process uses them and holds them against the
// ledger. At rest, when nothing is unfinished, a transaction must be everywhere
// or nowhere; before that, what was decided must at least be held everywhere.
func (l *loop) look(atRest bool) error {
	l.counts.checks++
	found := oracle.Found{}
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
func (l *loop) readTokens(service int, found oracle.Found, atRest bool) error {
	db, err := openDatabase(l.dir, service)
	if err != nil {
		return err
	}
	defer db.Close()
	wrong, err := found.Read(db, service, len(services))
	l.failAll(wrong)
	if err != nil || !atRest {
		return err
	}
	prepared, err := oracle.Prepared(db)
	if prepared > 0 {
		l.fail("%d branches are still prepared at %s", prepared, services[service])
	}
	return err
}

// judge holds what one transaction left behind against what was told.
func (l *loop) judge(id dtc.TxID, attempts map[string]oracle.Effects, atRest bool) {
	known := ""
	if t := l.tales[id]; t != nil {
		known = t.known
	} else if atRest {
		l.fail("%s: nobody began it, and it left %v", id, attempts)
		return
	}
	l.failAll(oracle.Judge(id, shapeOf(id), known, attempts, atRest))
}

// readLog verifies the log, and looks for an id that committed twice.
func (l *loop) readLog(atRest bool) error {
	report, wrong, err := oracle.CheckLog(filepath.Join(l.dir, "log"), atRest)
	var missing *wal.NoLogError
	if errors.As(err, &missing) && !atRest {
		return nil // killed before there was one
	}
	l.failAll(wrong)
	l.counts.segments, l.counts.records = report.Segments, report.Records
	return err
}

func (l *loop) failAll(wrong []string) {
	for _, w := range wrong {
		l.fail("%s", w)
	}
}
