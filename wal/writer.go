package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dtc-project/dtc/txlog"
)

// write is the writer: it takes all that is queued, writes it, syncs once if
// anybody waits, and starts over. Whoever comes during a sync shares the next
// one.
func (l *Log) write() {
	defer close(l.done)
	var group, written []*batch
	for {
		l.mu.Lock()
		l.recycle(written)
		for len(l.queue) == 0 && !l.closing {
			l.work.Wait()
		}
		group, l.queue = l.queue, written[:0]
		l.mu.Unlock()
		if len(group) == 0 {
			break
		}
		l.writeGroup(group)
		// Those who were just woken go first: they are about to come again, and
		// now they all share the next sync instead of every other one.
		runtime.Gosched()
		written = group
	}
	l.closeErr = l.finish()
}

// writeGroup writes the batches in order and tells everybody who waits for one
// what became of it.
func (l *Log) writeGroup(group []*batch) {
	told := 0
	for i, b := range group {
		size := int64(padded(len(b.buf)))
		if l.head.offset(l.written)+size > l.head.size {
			if err := l.sync(group[told:i]); err != nil {
				l.fail(err, group[told:i], group[i:])
				return
			}
			told = i
			if err := l.rotate(size); err != nil {
				l.fail(fmt.Errorf("make a new segment: %w", err), nil, group[i:])
				return
			}
		}
		if err := l.writeBatch(b); err != nil {
			l.fail(err, group[told:i+1], group[i+1:])
			return
		}
	}
	if !awaited(group[told:]) {
		return
	}
	if err := l.sync(group[told:]); err != nil {
		l.fail(err, group[told:], nil)
	}
}

func (l *Log) writeBatch(b *batch) error {
	at := place{l.id, l.head.number, l.written}
	b.buf = sealBatch(b.buf, b.records, at, l.synced, time.Now().UnixNano())
	if err := writeAll(l.file, b.buf, l.head.offset(l.written)); err != nil {
		return err
	}
	l.written += uint64(len(b.buf))
	l.stats.batches.Add(1)
	l.stats.records.Add(uint64(b.records))
	l.stats.bytes.Add(uint64(len(b.buf)))
	return nil
}

// sync makes everything written durable and tells those who wait for the
// batches.
func (l *Log) sync(batches []*batch) error {
	began := time.Now()
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.stats.lastSync.Store(uint64(time.Since(began)))
	l.synced = l.written
	if awaited(batches) {
		l.stats.forced.Add(1)
	}
	tell(batches, nil)
	return nil
}

// rotate goes on in a new segment with room for size bytes. The old one has been
// synced: the new header says so.
func (l *Log) rotate(size int64) error {
	h := segmentHeader{
		log: l.id, number: l.head.number + 1, begin: l.head.begin,
		start: l.written, synced: l.synced, time: time.Now().UnixNano(),
		size: max(l.segmentSize, segmentHeaderSize+size),
	}
	f, err := createSegment(l.fs, l.dir, &h, nil)
	if err != nil {
		return err
	}
	old := l.file
	l.head, l.file = h, f
	return old.Close()
}

// fail ends the log's writing life. Nobody knows about the doubtful batches until
// the next opening; the untouched ones, and those still in the queue, were never
// handed to the disk.
func (l *Log) fail(cause error, doubtful, untouched []*batch) {
	l.mu.Lock()
	l.err = cause
	queued := l.queue
	l.queue = nil
	l.mu.Unlock()
	close(l.failed)

	_ = l.file.Close() // its error could not make things worse
	l.file = nil
	tell(doubtful, fmt.Errorf("%w: %w", txlog.ErrUnknown, cause))
	refused := fmt.Errorf("%w: the log has failed: %w", txlog.ErrRefused, cause)
	tell(untouched, refused)
	tell(queued, refused)
}

func awaited(batches []*batch) bool {
	for _, b := range batches {
		if b.durable != nil {
			return true
		}
	}
	return false
}

func tell(batches []*batch, err error) {
	for _, b := range batches {
		b.err = err
		if b.durable != nil {
			close(b.durable)
		}
	}
}

// recycle keeps the buffers of written batches for new ones. Whoever waited for
// a batch may still read its error. The caller holds the mutex.
func (l *Log) recycle(batches []*batch) {
	for i, b := range batches {
		if cap(b.buf) <= 2*maxBatchSize && len(l.spare) < 4 {
			l.spare = append(l.spare, b.buf[:batchHeaderSize])
		}
		b.buf, batches[i] = nil, nil
	}
}

// finish ends the log in order: everything durable, then the mark that says so.
// It returns what Close returns.
func (l *Log) finish() error {
	var err error
	if l.file == nil {
		err = fmt.Errorf("wal: closed after a failure: %w", l.Err())
	} else if err = l.markClean(); err != nil {
		err = fmt.Errorf("wal: close: %w", err)
	}
	return errors.Join(err, l.lock.Close())
}

func (l *Log) markClean() error {
	err := l.sync(nil)
	if err = errors.Join(err, l.file.Close()); err != nil {
		return err
	}
	tmp := filepath.Join(l.dir, cleanName+".tmp")
	f, err := createWith(l.fs, tmp, appendClean(nil, l.id, l.written), 0)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := l.fs.Rename(tmp, filepath.Join(l.dir, cleanName)); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	// The rest of the file is room that nobody needs now. Only the mark allows
	// the file to be shorter than it was made.
	path := filepath.Join(l.dir, segmentName(l.head.number))
	return l.fs.Truncate(path, l.head.offset(l.written))
}

// appendFramed appends a record with its length.
func appendFramed(b, record []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(record)))
	return append(b, record...)
}
