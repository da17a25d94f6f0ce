package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/vfs"
)

// keeper does what the writer must not wait for: it keeps files in store and makes
// checkpoints. One goroutine, woken when a segment is full.
type keeper struct {
	fs   watched
	wake chan struct{} // one place
	stop chan struct{} // closed by Close
	done chan struct{}

	mu     sync.Mutex
	begun  bool      // the log has been replayed
	closed []segment // full and durable, behind the last checkpoint
	last   checkpointHeader
	stats  CheckpointStats
}

// CheckpointStats are about the checkpoints of a log since it was opened.
type CheckpointStats struct {
	Made   int
	Failed int
	Error  string    // of the last one, if it failed
	Size   int64     // bytes, of the one that counts
	At     time.Time // when it was made
}

// retryAfter is how long the keeper waits after it found no room.
const retryAfter = 500 * time.Millisecond

// checkpointRetry is how long a checkpoint that failed is not tried again.
const checkpointRetry = 10 * time.Second

// lookEvery is how often a log that is idle sees whether its files are in place.
const lookEvery = time.Second

// keep is the keeper.
func (l *Log) keep() {
	k := &l.keeper
	defer close(k.done)
	notBefore := time.Time{}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		var retry <-chan time.Time
		var timer *time.Timer
		if l.store.room() != nil {
			timer = time.NewTimer(retryAfter)
			retry = timer.C
		}
		select {
		case <-k.wake:
		case <-retry:
		case <-look.C:
			l.lookAround()
		case <-k.stop:
		}
		if timer != nil {
			timer.Stop()
		}
		if l.stopping() {
			return
		}
		l.stock(k.fs)
		if segments := k.due(l.segmentSize, l.checkpointAfter); segments != nil && time.Now().After(notBefore) {
			if err := l.checkpoint(segments); err != nil {
				notBefore = time.Now().Add(checkpointRetry)
			}
		}
	}
}

// stopping reports whether the log is being closed or has failed.
func (l *Log) stopping() bool {
	select {
	case <-l.keeper.stop:
		return true
	case <-l.failed:
		return true
	default:
		return false
	}
}

// filled hands a full and durable segment to the keeper.
func (k *keeper) filled(s segment) {
	k.mu.Lock()
	k.closed = append(k.closed, s)
	k.mu.Unlock()
	k.rouse()
}

// replayed lets checkpoints begin.
func (k *keeper) replayed() {
	k.mu.Lock()
	k.begun = true
	k.mu.Unlock()
	k.rouse()
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// maxFold bounds the segments that one checkpoint takes in, and so the memory that
// it needs.
const maxFold = 8

// due returns the segments that the next checkpoint takes in, or nil while there is
// too little to gain: a checkpoint writes the one before it again, so what is new
// must be in proportion to that.
func (k *keeper) due(segmentSize, after int64) []segment {
	k.mu.Lock()
	defer k.mu.Unlock()
	if after < 0 || !k.begun {
		return nil
	}
	if after == 0 {
		after = 2 * segmentSize
	}
	var bytes int64
	for i := range k.closed {
		bytes += int64(k.closed[i].end - k.closed[i].start)
	}
	if len(k.closed) == 0 || bytes < max(after, k.last.size/2) && len(k.closed) < maxFold {
		return nil
	}
	return append([]segment(nil), k.closed[:min(len(k.closed), maxFold)]...)
}

// checkpoint makes a checkpoint of the one before it and the segments, and frees
// what it stands for. Whatever goes wrong before it has its name changes nothing.
func (l *Log) checkpoint(segments []segment) error {
	k := &l.keeper
	failpoint.Hit(failpoint.WALCheckpoint)
	h, err := l.foldInto(filepath.Join(l.dir, temporaryCkp), segments)
	if err == nil {
		failpoint.Hit(failpoint.WALCheckpointSynced)
		err = l.names.publish(filepath.Join(l.dir, temporaryCkp), filepath.Join(l.dir, checkpointName(h.number)))
	}
	if errors.Is(err, ErrClosed) {
		return err // given up; the next Open removes what there is of it
	}
	if err != nil {
		_ = remove(k.fs, filepath.Join(l.dir, temporaryCkp)) // if this fails too, the next one does it
		k.failed(err)
		if names := (*namesError)(nil); errors.As(err, &names) {
			l.failUnknown(err)
		}
		return err
	}
	failpoint.Hit(failpoint.WALCheckpointDirSynced)
	k.mu.Lock()
	old := k.last
	k.last = h
	k.closed = k.closed[len(segments):]
	k.stats.Made++
	k.stats.Size, k.stats.At, k.stats.Error = h.size, time.Unix(0, h.time), ""
	k.mu.Unlock()
	l.begin.Store(h.end)
	return l.free(segments, old)
}

func (k *keeper) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stats.Failed++
	k.stats.Error = err.Error()
}

// free puts the files of segments that a checkpoint stands for in store, or removes
// them, and removes the checkpoint before it. What cannot be removed now is removed
// by the next Open.
func (l *Log) free(segments []segment, old checkpointHeader) error {
	k := &l.keeper
	room := maxFree - l.store.len()
	var freed []string
	err := l.names.change(func() error {
		for i := range segments {
			s := &segments[i]
			if room > len(freed) && s.size == l.segmentSize && !s.cut {
				path := l.store.name(l.dir)
				if err := l.names.fs.Rename(s.path, path); err != nil {
					return err
				}
				freed = append(freed, path)
				failpoint.Hit(failpoint.WALSegmentRecycled)
				continue
			}
			if err := remove(l.names.fs, s.path); err != nil {
				return err
			}
			failpoint.Hit(failpoint.WALSegmentRemoved)
		}
		if old.number == 0 {
			return nil
		}
		failpoint.Hit(failpoint.WALCheckpointRemove)
		return remove(l.names.fs, filepath.Join(l.dir, checkpointName(old.number)))
	})
	if err != nil {
		// What was renamed is not in store: it is not known whether it has lost
		// its old name.
		k.failed(err)
		if names := (*namesError)(nil); errors.As(err, &names) {
			l.failUnknown(err)
		}
		return err
	}
	failpoint.Hit(failpoint.WALFreed)
	for _, path := range freed {
		f, err := k.fs.OpenWrite(path)
		if err != nil {
			// Who takes a file from the store relies on having it. If this fails too, the
			// next Open does it.
			_ = k.fs.Remove(path)
			continue
		}
		l.store.add(spare{path, bare(f)})
	}
	return nil
}

// foldInto writes the checkpoint to a file and makes its bytes durable.
func (l *Log) foldInto(path string, segments []segment) (checkpointHeader, error) {
	k := &l.keeper
	f := newFold(l.outcomeLimit, l.outcomeRetention, l.clock.now())
	base := k.last
	var before *checkpointFile
	if base.number > 0 {
		before = &checkpointFile{checkpointHeader: base, path: filepath.Join(l.dir, checkpointName(base.number))}
		if err := f.readBase(k.fs, before); err != nil {
			return checkpointHeader{}, err
		}
	}
	for i := range segments {
		if l.stopping() {
			return checkpointHeader{}, ErrClosed
		}
		if canary.On(canary.RecycleLive) && i > 0 && i == len(segments)-1 {
			break
		}
		if err := segments[i].replay(k.fs, l.id, f.add); err != nil {
			return checkpointHeader{}, err
		}
	}
	last := &segments[len(segments)-1]
	h := checkpointHeader{log: l.id, number: last.number, end: last.end, time: time.Now().UnixNano()}
	if err := f.write(k.fs, path, &h, before, l.stopping); err != nil {
		return checkpointHeader{}, fmt.Errorf("write a checkpoint: %w", err)
	}
	return h, nil
}

// Checkpoints returns what became of checkpoints so far.
func (l *Log) Checkpoints() CheckpointStats {
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	return l.keeper.stats
}

var _ vfs.FS = watched{}
