package wal

import "runtime"

// WaitQueued returns when n records wait for the writer.
func WaitQueued(l *Log, n int) {
	for queued := 0; queued < n; runtime.Gosched() {
		queued = 0
		l.mu.Lock()
		for _, b := range l.queue {
			queued += int(b.records)
		}
		l.mu.Unlock()
	}
}

// The codec, for tests of every spelling.
var (
	AppendRecord = appendRecord
	DecodeRecord = decodeRecord
)
