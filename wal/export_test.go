package wal

import (
	"errors"
	"runtime"
	"time"

	"github.com/dtc-project/dtc/txlog"
)

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

// SetClock makes it as if the wall clock had been set forward since the log was opened.
func SetClock(l *Log, by time.Duration) { l.clock.wall -= int64(by) }

// WaitWritten returns when n records have been written.
func WaitWritten(l *Log, n int) {
	for l.Stats().Records < uint64(n) {
		runtime.Gosched()
	}
}

// The codec, for tests of every spelling.
var (
	AppendRecord = appendRecord
	DecodeRecord = decodeRecord
)

// DecodeBatch does what reading does with a batch at position 0 of segment 1 of
// the log of id zero, without asking for the checksum: it calls fn for each
// record.
func DecodeBatch(b []byte, fn func(txlog.Record) error) error {
	if len(b) >= batchHeaderSize {
		copy(b, batchMagic)
		le.PutUint32(b[8:], uint32(len(b)-batchHeaderSize))
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		stampBatch(b, place{segment: 1})
	}
	h, payload, ok := parseBatch(b, place{segment: 1})
	if !ok {
		return errors.New("no batch")
	}
	return decodePayload(payload, h.records, decodeRecord, fn)
}

// EncodeBatch is the inverse.
func EncodeBatch(records []txlog.Record) ([]byte, error) {
	b := make([]byte, batchHeaderSize)
	for _, r := range records {
		record, err := appendRecord(nil, r)
		if err != nil {
			return nil, err
		}
		b = appendFramed(b, record)
	}
	return sealBatch(b, uint32(len(records)), place{segment: 1}, 0, 0), nil
}
