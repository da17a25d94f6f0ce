package wal

import (
	"time"

	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/txlog"
)

// lateAfter is how long a record that may wait stays in memory at most, while the writer is
// idle.
const lateAfter = 10 * time.Millisecond

// mayWait reports whether a record for whose sync nobody waits need not be written at once. If
// the process dies before, a prepare is lost as it may be when power fails, which is why one
// that must not be lost is forced; and without the end all branches are finished once more.
// What somebody was told, and the log is asked for, does not wait: an abort, above all.
func mayWait(k txlog.Kind) bool { return k == txlog.KindPrepare || k == txlog.KindEnd }

// announce lets the writer know that there is something more in the queue: at once, or when it
// is late, if the record may wait and fits into a batch with the others. The caller holds the
// mutex.
func (l *Log) announce(mayWait bool) {
	switch {
	case l.called:
	case !mayWait || len(l.queue) > 1:
		l.call()
	case !l.waits:
		l.waits = true
		l.late.Reset(chance.Apart(lateAfter))
	}
}

// call lets the writer know what is in the queue. The caller holds the mutex.
func (l *Log) call() {
	l.called = true
	l.work.Signal()
}

// isLate calls the writer for what has waited, unless that was written with something else.
func (l *Log) isLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = false
	if len(l.queue) > 0 && !l.called {
		l.call()
	}
}
