package failpoint_test

import (
	"fmt"
	"strings"
	"sync"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/failpoint/internal/node"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// ledger is all that callers were told in all lives, and all that was found wrong. Its
// methods may be called from any number of goroutines.
type ledger struct {
	mu    sync.Mutex
	life  int
	tales map[dtc.TxID]*tale
	order []dtc.TxID // in which they began
	wrong []string
}

// tale is what the callers know of one id.
type tale struct {
	shape string
	out   int // callers that wait for an answer
	// known is the outcome that counts: committed for ever, or rolled back until
	// another process may have run the id again, or "" if nobody can know.
	known string
	said  int // the life in which that was said
}

func (t *tale) onlyReads() bool { return !strings.ContainsRune(t.shape, oracle.Writes) }

func newLedger() *ledger { return &ledger{tales: map[dtc.TxID]*tale{}} }

func (l *ledger) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(format, args...)
}

func (l *ledger) failLocked(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf("life %d: ", l.life)+fmt.Sprintf(format, args...))
}

// begins notes that a life begins.
func (l *ledger) begins() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.life++
	return l.life
}

// started notes that a caller is about to run an id.
func (l *ledger) started(id dtc.TxID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tales[id]
	if t == nil {
		t = &tale{shape: oracle.ShapeOf(id)}
		l.tales[id] = t
		l.order = append(l.order, id)
	}
	t.out++
	if t.known == oracle.RolledBack && t.said != l.life {
		t.known = "" // it may have been forgotten in the crash: this is a new transaction
	}
}

// told notes what a caller was told, and compares it with what was said before.
func (l *ledger) told(id dtc.TxID, outcome, detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tales[id]
	if t == nil || t.out == 0 {
		l.failLocked("%s: told %s without having been started", id, outcome)
		return
	}
	t.out--
	switch {
	case outcome == "nothing":
		return
	case outcome != oracle.Committed && outcome != oracle.RolledBack:
		l.failLocked("%s: the caller was told: %s %s", id, outcome, detail)
		return
	case t.known == "" || t.known == outcome:
	case t.onlyReads() && t.said != l.life: // nothing was forced for it
	default:
		l.failLocked("%s: told %s in life %d and %s now", id, t.known, t.said, outcome)
	}
	if outcome == oracle.Committed && strings.ContainsRune(t.shape, oracle.Declines) {
		l.failLocked("%s: told committed, though a participant declined", id)
	}
	t.known, t.said = outcome, l.life
}

// ends notes the end of a life: whoever waits for an answer never gets it.
func (l *ledger) ends() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tales {
		t.out = 0
	}
}

// owed returns the ids of which nobody knows how they ended, and that can be run again.
func (l *ledger) owed() (ids []dtc.TxID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.order {
		if l.tales[id].known == "" && node.Repeatable(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// ids returns all of them.
func (l *ledger) ids() []dtc.TxID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]dtc.TxID(nil), l.order...)
}

// answered notes how a transaction ended, when nothing is unfinished any more. An
// outcome that is neither of the two means that it is not remembered.
func (l *ledger) answered(id dtc.TxID, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tales[id]
	switch {
	case outcome != oracle.Committed && outcome != oracle.RolledBack:
	case t.known != "" && t.known != outcome && !t.onlyReads():
		l.failLocked("%s: told %s, and now it is %s", id, t.known, outcome)
	case outcome == oracle.Committed && strings.ContainsRune(t.shape, oracle.Declines):
		l.failLocked("%s: committed, though a participant declined", id)
	case t.known == "":
		t.known = outcome // now it is said, and must be so in the files
	}
}

// proved notes whether the participant that commits in one phase has proof of an id, after
// it was said how it ended.
func (l *ledger) proved(id dtc.TxID, proven bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if want := l.tales[id].known == oracle.Committed && node.OnePhase(id); proven != want {
		l.failLocked("%s: it ended as %q, and whether there is proof of it is %v", id, l.tales[id].known, proven)
	}
}

// judge reads all files when no process uses them and nothing is unfinished.
func (l *ledger) judge(dir string) error {
	found := oracle.Found{}
	for i, name := range node.Services {
		db, err := node.OpenDatabase(dir, i)
		if err != nil {
			return err
		}
		wrong, err := found.Read(db, i, len(node.Services))
		l.failAll(wrong)
		if err == nil {
			var prepared int
			if prepared, err = oracle.Prepared(db); prepared > 0 {
				l.fail("%d branches are still prepared at %s", prepared, name)
			}
		}
		_ = db.Close()
		if err != nil {
			return fmt.Errorf("the database of %s: %w", name, err)
		}
	}
	for _, id := range l.order {
		t := l.tales[id]
		l.failAll(oracle.Judge(id, t.shape, t.known, found[id], true))
		delete(found, id)
	}
	for id, attempts := range found {
		l.fail("%s: nobody began it, and it left %v", id, attempts)
	}
	_, wrong, err := oracle.CheckLog(node.LogDir(dir), true)
	l.failAll(wrong)
	return err
}

func (l *ledger) failAll(wrong []string) {
	for _, w := range wrong {
		l.fail("%s", w)
	}
}
