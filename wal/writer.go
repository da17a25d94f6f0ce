package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/txlog"
)

// write is the writer: it takes all that is queued, writes it, syncs once if
// anybody waits, and starts over. Whoever comes during a sync shares the next
// one.
func (l *Log) write() {
	defer close(l.done)
	for {
		l.mu.Lock()
		l.recycle()
		l.await()
		look := l.look
		l.look, l.called = false, false
		l.group, l.queue = l.queue, l.group
		group := l.group
		l.mu.Unlock()
		if len(group) == 0 {
			if !look {
				break
			}
			if err := l.inPlace(); err != nil {
				l.fail(err, 0)
			}
			continue
		}
		if told, err := l.writeGroup(group); err != nil {
			l.fail(err, told)
		}
		// Those who were just woken go first: they are about to come again, and
		// now they all share the next sync instead of every other one.
		runtime.Gosched()
	}
	<-l.keeper.done
	l.closeErr = l.finish()
}

// await waits until there is something to do. The caller holds the mutex.
func (l *Log) await() {
	for {
		for len(l.queue) == 0 && !l.closing && !l.look {
			l.work.Wait()
		}
		if !chance.Turns() {
			return
		}
		l.mu.Unlock()
		chance.Turn()
		l.mu.Lock()
		if len(l.queue) > 0 || l.closing || l.look {
			return
		}
	}
}

// writeGroup writes the batches in order and tells everybody who waits for one
// what became of it. With an error it returns how many batches were handed to the
// disk, perhaps in part.
func (l *Log) writeGroup(group []*batch) (touched int, err error) {
	told := 0
	for i, b := range group {
		size := int64(padded(len(b.buf)))
		if l.head.offset(l.written)+size > l.head.size {
			if canary.On(canary.RotateUnsynced) {
				l.synced = l.written
			} else if err := l.sync(group[told:i]); err != nil {
				return i, err
			}
			told = i
			if err := l.rotate(size); err != nil {
				return i, fmt.Errorf("make a new segment: %w", err)
			}
		}
		if err := l.writeBatch(b); err != nil {
			return i + 1, err
		}
	}
	if !awaited(group[told:]) {
		return 0, nil
	}
	return len(group), l.sync(group[told:])
}

func (l *Log) writeBatch(b *batch) error {
	at := place{l.id, l.head.number, l.written}
	b.buf = sealBatch(b.buf, b.records, at, l.synced, time.Now().UnixNano())
	failpoint.Hit(failpoint.WALBeforeWrite)
	if err := writeAll(l.file, b.buf, l.head.offset(l.written)); err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALAfterWrite)
	l.written += uint64(len(b.buf))
	l.waiting += int(b.records)
	l.stats.batches.Add(1)
	l.stats.records.Add(uint64(b.records))
	l.stats.bytes.Add(uint64(len(b.buf)))
	return nil
}

// sync makes everything written durable and tells those who wait for the
// batches.
func (l *Log) sync(batches []*batch) error {
	began := time.Now()
	failpoint.Hit(failpoint.WALBeforeSync)
	err := l.syncFile()
	if err != nil && canary.On(canary.RetryFailedSync) {
		err = l.syncFile()
	}
	if err != nil && !canary.On(canary.IgnoreFailedSync) {
		return err
	}
	failpoint.Hit(failpoint.WALAfterSync)
	took := time.Since(began)
	if err := l.inPlace(); err != nil {
		return err
	}
	l.stats.lastSync.Store(uint64(took))
	records := l.waiting
	l.synced, l.waiting = l.written, 0
	if awaited(batches) {
		l.stats.forced.Add(1)
	}
	l.mu.Lock()
	tell(batches, nil)
	l.mu.Unlock()
	failpoint.Hit(failpoint.WALTold)
	if l.onSynced != nil && records > 0 {
		l.onSynced(took, records)
	}
	return nil
}

func (l *Log) syncFile() error {
	if canary.On(canary.SkipSync) {
		return nil
	}
	return l.file.Sync()
}

// rotate goes on in a new segment with room for size bytes. The old one has been
// synced: the new header says so.
func (l *Log) rotate(size int64) error {
	h := segmentHeader{
		log: l.id, number: l.head.number + 1, begin: l.begin.Load(),
		start: l.written, synced: l.synced, time: time.Now().UnixNano(),
		size: max(l.segmentSize, segmentHeaderSize+size),
	}
	failpoint.Hit(failpoint.WALRotate)
	f, err := l.nextSegment(&h)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALRotateDirSynced)
	full, file := l.head, l.file
	l.head, l.file = h, f
	failpoint.Hit(failpoint.WALRotated)
	if err := file.Close(); err != nil {
		return err
	}
	l.keeper.filled(segment{segmentHeader: full, path: filepath.Join(l.dir, segmentName(full.number)), end: l.written})
	return nil
}

// fail ends the log's writing life. Nobody knows about the batches that were
// touched until the next opening; the others in the writer's hands, and those
// still in the queue, were never handed to the disk.
func (l *Log) fail(cause error, touched int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(cause, touched)
}

func (l *Log) failLocked(cause error, touched int) {
	if l.broken {
		return
	}
	l.broken = true
	l.err = cause
	close(l.failed) // first: whoever is told asks why
	tell(l.group[:touched], fmt.Errorf("%w: %w", txlog.ErrUnknown, cause))
	refused := fmt.Errorf("%w: the log has failed: %w", txlog.ErrRefused, cause)
	tell(l.group[touched:], refused)
	tell(l.queue, refused)
	l.queue = nil
}

// failUnknown is fail from outside the writer, which may be anywhere in its group,
// and touches nothing more.
func (l *Log) failUnknown(cause error) {
	l.disk.w.over.Store(true)
	l.keeper.fs.w.over.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(cause, len(l.group))
}

// stalled ends the log because a call did not return.
func (l *Log) stalled(cause error) {
	l.failUnknown(cause)
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.stuck:
	default:
		close(l.stuck)
	}
}

func awaited(batches []*batch) bool {
	for _, b := range batches {
		if b.durable != nil {
			return true
		}
	}
	return false
}

// tell says once what became of the batches. The caller holds the log's mutex.
func tell(batches []*batch, err error) {
	for _, b := range batches {
		if b.told {
			continue
		}
		b.told, b.err = true, err
		if b.durable != nil {
			close(b.durable)
		}
	}
}

// recycle keeps the buffers of written batches for new ones. Whoever waited for
// a batch may still read its error. The caller holds the mutex.
func (l *Log) recycle() {
	for i, b := range l.group {
		if cap(b.buf) <= 2*maxBatchSize && len(l.spare) < 4 {
			l.spare = append(l.spare, b.buf[:batchHeaderSize])
		}
		b.buf, l.group[i] = nil, nil
	}
	l.group = l.group[:0]
}

// finish ends the log in order: everything durable, then the mark that says so.
// It returns what Close returns.
func (l *Log) finish() error {
	err := l.Err()
	if err != nil {
		_ = l.file.Close() // its error could not make things worse
		err = fmt.Errorf("wal: closed after a failure: %w", err)
	} else if err = l.markClean(); err != nil {
		err = fmt.Errorf("wal: close: %w", err)
	}
	failpoint.Hit(failpoint.WALClosed)
	for free := l.store.take(0); free.path != ""; free = l.store.take(0) {
		free.close() // the next Open removes it
	}
	return errors.Join(err, l.lock.Close())
}

func (l *Log) markClean() error {
	failpoint.Hit(failpoint.WALClosing)
	err := error(nil)
	if !canary.On(canary.MarkBeforeSync) {
		err = l.sync(nil)
	}
	if err = errors.Join(err, l.file.Close()); err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALCleanSynced)
	err = l.writeClean()
	if err != nil && (l.store.room() != nil || full(err)) {
		// The disk is full, even if the store never noticed because it had all that
		// it wants. What is in it is room for the mark.
		if free := l.store.take(0); free.path != "" {
			l.store.setShort(err)
			if err := free.discard(l.disk); err != nil {
				return err
			}
			err = l.writeClean()
		}
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALCleanMark)
	l.probe()
	if l.store.room() == nil { // else the next Open may need them
		for free := l.store.take(0); free.path != ""; free = l.store.take(0) {
			if err := free.discard(l.disk); err != nil {
				return err
			}
		}
	}
	// The rest of the file is room that nobody needs now. Only the mark allows
	// the file to be shorter than it was made.
	path := filepath.Join(l.dir, segmentName(l.head.number))
	failpoint.Hit(failpoint.WALCleanCut)
	if err := l.disk.Truncate(path, l.head.offset(l.written)); err != nil || l.store.room() == nil {
		return err
	}
	// On a full disk the next Open needs what that gave back, also if the power goes.
	f, err := l.disk.OpenWrite(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// probe finds out whether the disk has room for the segment that the next Open makes:
// it may be full without anything having told the log.
func (l *Log) probe() {
	path := l.store.name(l.dir)
	f, err := preallocate(l.disk, path, l.segmentSize)
	if err == nil {
		err = errors.Join(f.Close(), l.disk.Remove(path))
	}
	if err != nil {
		l.store.setShort(err)
	}
}

// writeClean writes the mark.
func (l *Log) writeClean() error {
	tmp := filepath.Join(l.dir, temporaryMark)
	f, err := l.disk.OpenWrite(tmp) // its room was kept for it
	if errors.Is(err, fs.ErrNotExist) {
		f, err = l.disk.Create(tmp)
	}
	if err != nil {
		return err
	}
	err = writeAll(f, appendClean(nil, l.id, l.written), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return l.names.publish(tmp, filepath.Join(l.dir, cleanName))
}

// appendFramed appends a record with its length.
func appendFramed(b, record []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(record)))
	return append(b, record...)
}
