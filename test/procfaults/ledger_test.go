package procfaults_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// ledger is all that the clients were told, and all that was found wrong.
type ledger struct {
	epoch atomic.Int64 // ends of the coordinator, counted before each
	url   atomic.Pointer[string]

	mu    sync.Mutex
	tales map[dtc.TxID]*tale
	order []dtc.TxID
	later []dtc.TxID // nobody knows how they ended
	wrong []string
	counts
}

type counts struct {
	posted, committed, rolledBack, lost, notNow, again int64
	refusals                                           int64 // of second processes
}

// tale is what the clients know of one id.
type tale struct {
	shape string
	told  string // the outcome that holds, or ""
	epoch int64  // in which it was told
}

func newLedger() *ledger { return &ledger{tales: map[dtc.TxID]*tale{}} }

// moved says where the coordinator is now.
func (l *ledger) moved(url string) { l.url.Store(&url) }

func (l *ledger) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func (l *ledger) add(n *int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*n++
}

func (l *ledger) count() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// begins notes that an id is about to be posted for the first time.
func (l *ledger) begins(id dtc.TxID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tales[id] = &tale{shape: oracle.ShapeOf(id)}
	l.order = append(l.order, id)
	l.posted++
}

// tells notes an answer. Committed holds for ever. Who was told rolled back does not post
// the id again, so that holds too.
func (l *ledger) tells(id dtc.TxID, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tales[id]
	complain := func(format string, args ...any) {
		l.wrong = append(l.wrong, fmt.Sprintf("%s: ", id)+fmt.Sprintf(format, args...))
	}
	switch outcome {
	case oracle.Committed:
		l.committed++
		if strings.ContainsRune(t.shape, oracle.Declines) {
			complain("told committed, though a participant declined")
		}
	case oracle.RolledBack:
		l.rolledBack++
	default:
		complain("told %q", outcome)
		return
	}
	switch t.told {
	case "":
		t.told, t.epoch = outcome, l.epoch.Load()
	case outcome:
		l.again++
	default:
		complain("told %s in life %d, and %s in life %d", t.told, t.epoch, outcome, l.epoch.Load())
	}
}

func (l *ledger) owed(id dtc.TxID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.later = append(l.later, id)
}

// pick returns an id to post again: one whose answer was lost, or one that committed.
func (l *ledger) pick(n int) dtc.TxID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := len(l.later) - 1; last >= 0 && n%2 == 0 {
		id := l.later[last]
		l.later = l.later[:last]
		return id
	}
	if n%16 == 1 && len(l.order) > 0 {
		id := l.order[len(l.order)-1-n/16%min(64, len(l.order))]
		if l.tales[id].told == oracle.Committed {
			return id
		}
	}
	return ""
}

func (c counts) String() string {
	return fmt.Sprintf("%d transactions; told %d committed, %d rolled back, %d of them again; %d answers lost, %d told not now; %d second processes refused",
		c.posted, c.committed, c.rolledBack, c.again, c.lost, c.notNow, c.refusals)
}
