package chaos_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/histories"
	"github.com/dtc-project/dtc/test/internal/lossy"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// ledger is all that the clients were told, and all that was found wrong. Its methods
// may be called from any number of goroutines.
type ledger struct {
	epoch atomic.Int64 // kills of the server, counted before each
	hits  atomic.Int64 // kills, stops and partitions

	history *histories.Recorder // of transactions posted whole

	mu    sync.Mutex
	tales map[dtc.TxID]*tale
	order []dtc.TxID // in which they began
	later []dtc.TxID // nobody knows how they ended
	wrong []string
	counts
}

// counts are of what the clients did and heard.
type counts struct {
	whole, steps, requests                       int
	committed, rolledBack, lost, refused, gone   int
	repeated, reruns, foreign                    int
	toldUnderFault, toldUnderHit, unknown, found int
	forgotten, asked                             int
}

// tale is what the clients know of one id.
type tale struct {
	shape string
	steps bool
	xid   string            // of steps: what the client began
	full  bool              // of steps: and to which it added all branches
	told  map[string]string // the outcome of each XID
	fault int               // requests about it that something happened to

	committed    string    // the XID that was told to be
	committedAt  time.Time // when that was first heard
	rolledBackIn int64     // the first epoch in which "rolled back" may have been said of another XID, or -1
}

func newLedger() *ledger {
	return &ledger{tales: map[dtc.TxID]*tale{}, history: histories.NewRecorder()}
}

func (l *ledger) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(format, args...)
}

func (l *ledger) failLocked(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// begins notes a transaction that a client is about to begin.
func (l *ledger) begins(id dtc.TxID, shape string, steps bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tales[id] = &tale{shape: shape, steps: steps, told: map[string]string{}, rolledBackIn: -1}
	l.order = append(l.order, id)
	if steps {
		l.steps++
	} else {
		l.whole++
	}
}

// asked is a moment at which something was sent.
type asked struct {
	at          time.Time
	epoch, hits int64
}

func (l *ledger) asks() asked {
	l.mu.Lock()
	l.requests++
	l.mu.Unlock()
	return asked{time.Now(), l.epoch.Load(), l.hits.Load()}
}

// tells notes an answer, and compares it with those before. An XID stands for one run of
// a transaction: its outcome never changes. An id may run again, but only if it was
// rolled back and the server was killed since, for that need not be remembered then.
func (l *ledger) tells(id dtc.TxID, xid, outcome string, q asked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tales[id]
	switch outcome {
	case oracle.Committed:
		l.committed++
		if t.fault > 0 {
			l.toldUnderFault++
		}
		if l.hits.Load() != q.hits {
			l.toldUnderHit++
		}
		if t.committed != "" && t.committed != xid {
			l.failLocked("%s: told committed as %s and as %s", id, t.committed, xid)
		}
		if strings.ContainsRune(t.shape, oracle.Declines) && (!t.steps || t.full && t.xid == xid) {
			l.failLocked("%s: told committed, though a participant declined", id)
		}
		if t.committed == "" && t.rolledBackIn >= 0 {
			if l.reruns++; t.rolledBackIn == l.epoch.Load() {
				l.failLocked("%s: told rolled back, and committed as %s by the same process", id, xid)
			}
		}
		if t.committed == "" {
			t.committed, t.committedAt = xid, time.Now()
		}
	case oracle.RolledBack:
		l.rolledBack++
		if t.committed != "" && q.at.After(t.committedAt) {
			l.failLocked("%s: told committed as %s, and rolled back later as %q", id, t.committed, xid)
		}
		if t.told[xid] == "" {
			t.rolledBackIn = q.epoch
		}
	default:
		l.failLocked("%s: told %q", id, outcome)
		return
	}
	switch before := t.told[xid]; before {
	case "":
		t.told[xid] = outcome
	case outcome:
		l.repeated++
	default:
		l.failLocked("%s (%s): told %s and %s", id, xid, before, outcome)
	}
}

// owed notes an id whose end nobody knows, to be asked for again.
func (l *ledger) owed(id dtc.TxID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.later = append(l.later, id)
}

// add adds to one of the counts.
func (l *ledger) add(n *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*n++
}

// update changes a tale.
func (l *ledger) update(id dtc.TxID, f func(t *tale)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tales[id]; t != nil {
		f(t)
	}
}

// hit notes that a proxy does something to a request.
func (l *ledger) hit(_ lossy.Fault, path string, body []byte) {
	var ids struct {
		ID   dtc.TxID `json:"id"`
		TxID dtc.TxID `json:"tx_id"`
	}
	_ = json.Unmarshal(body, &ids) // what it is not stays empty
	id := ids.ID + ids.TxID
	if rest, ok := strings.CutPrefix(path, "/v1/transactions/"); ok && id == "" {
		first, _, _ := strings.Cut(rest, "/")
		id = dtc.TxID(first)
	}
	l.update(id, func(t *tale) { t.fault++ })
}

func (c *counts) String() string {
	return fmt.Sprintf("%d transactions posted whole and %d grown by steps, in %d requests\n"+
		"told %d committed (%d of them though messages about them were hit, %d during a kill, stop or partition), %d rolled back;"+
		" %d answers lost, %d refusals, %d gone; %d asked how one ended; %d answers told again, %d ids run again after a rollback and a kill, %d under another XID\n"+
		"%d ids of unknown outcome at the end of the storm, of which %d had committed; %d told rolled back are not remembered",
		c.whole, c.steps, c.requests, c.committed, c.toldUnderFault, c.toldUnderHit, c.rolledBack,
		c.lost, c.refused, c.gone, c.asked, c.repeated, c.reruns, c.foreign, c.unknown, c.found, c.forgotten)
}
