package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

// Options are settings of a log. The zero value, and nil, give the defaults.
type Options struct {
	// SegmentSize is the size of a segment file in bytes: 8 MiB if 0, and at
	// least 4 KiB. It may differ from one opening to the next.
	SegmentSize int64

	// OutcomeLimit bounds how many ended transactions checkpoints remember, and
	// OutcomeRetention for how long; zero means without bound. A few more may be
	// remembered.
	OutcomeLimit     int
	OutcomeRetention time.Duration

	// CheckpointAfter is how many bytes of full segments make a checkpoint worth
	// while, if that is more than half of the last one: two segments if 0. If it
	// is negative there are no checkpoints, and the log grows for ever.
	CheckpointAfter int64

	// StallLimit is how long the disk may take for one call; zero means 1 min.
	// After that the log has failed, and whoever waits is told that the outcome is
	// not known. It is no guard against a slow disk: only a restart helps then.
	StallLimit time.Duration

	// Progress, if not nil, is called now and then while Open and OpenReadOnly read
	// the log, with the bytes read so far and in all.
	Progress func(read, total int64)

	// Synced, if not nil, is called after each sync of the newest segment that made
	// records durable, with how long the disk took and how many records they were,
	// those included for which nobody waited. The writer calls it, one call at a
	// time, when it has told those who waited: it must return soon, and must not call
	// the log. After a sync that failed it is not called.
	Synced func(took time.Duration, records int)

	// FS is the file system: that of the operating system if nil. Tests give a
	// simulated one.
	FS vfs.FS
}

const (
	defaultSegmentSize = 8 << 20
	minSegmentSize     = 4 << 10
	defaultStallLimit  = time.Minute
)

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.SegmentSize == 0 {
		d.SegmentSize = defaultSegmentSize
	}
	d.SegmentSize = max(d.SegmentSize, minSegmentSize)
	if d.StallLimit <= 0 {
		d.StallLimit = defaultStallLimit
	}
	if d.FS == nil {
		d.FS = vfs.OS{}
	}
	return d
}

// Open opens the log in dir for reading and writing, and makes both if they do
// not exist. It takes the log's lock, reads and checks everything, and makes
// durable what it has found, before it returns.
//
// The error is a [*InUseError], [*CorruptError], [*VersionError], [*NotLogError],
// or what the file system said. After any error the log is as it was.
func Open(dir string, o *Options) (_ *Log, err error) {
	opts := o.withDefaults()
	fsys := opts.FS
	if err := fsys.MkdirAll(dir); errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("wal: %s, or what it is in, is a file: the log needs a directory of its own", dir)
	} else if err != nil {
		return nil, fmt.Errorf("wal: make the log's directory: %w", err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if err != nil {
		if held := (*vfs.LockedError)(nil); errors.As(err, &held) {
			return nil, &InUseError{Dir: dir, PID: held.PID}
		}
		return nil, fmt.Errorf("wal: lock %s, which this process must be able to write: %w", dir, err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()

	failpoint.Hit(failpoint.WALOpenLocked)
	// From here on a path means what is in this directory, whatever takes its name.
	fsys = lock.Inside()
	opts.FS = fsys

	// Names that a killed process left unsynced must not be lost from under
	// what is built on them.
	if err := fsys.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("wal: sync directory: %w", err)
	}
	failpoint.Hit(failpoint.WALOpenDirSynced)
	found, err := readContents(fsys, dir, opts.Progress)
	if err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.WALOpenRead)
	l := newLog(dir, opts, lock)
	if err := l.start(found); err != nil {
		return nil, fmt.Errorf("wal: start a segment in %s, which this process must be able to write: %w", dir, err)
	}
	failpoint.Hit(failpoint.WALOpened)
	go l.write()
	go l.keep()
	return l, nil
}

// start puts a fresh segment behind what was found, and removes what it
// supersedes.
func (l *Log) start(found *contents) error {
	h := segmentHeader{number: 1, begin: found.begin(), time: time.Now().UnixNano()}
	var batches []byte
	if len(found.segments) == 0 {
		chance.Read(h.log[:])
	} else {
		h.log, h.number = found.log, found.last().number+1
		var err error
		if h.start, batches, err = l.takeOver(found, h.number); err != nil {
			return err
		}
		if canary.On(canary.ActOnUnsynced) {
			h.start, batches = found.end, nil
		}
		failpoint.Hit(failpoint.WALOpenTakenOver)
		if found.moved {
			failpoint.Hit(failpoint.WALOpenHold)
			if batches, err = appendHold(batches, found, place{h.log, h.number, found.end}, h.time); err != nil {
				return err
			}
		}
		h.synced = h.start + uint64(len(batches))
		found.end = h.synced
	}
	if err := removeMeaningless(l.fs, l.dir); err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALOpenCleared)
	if err := l.renew(found); err != nil {
		return err
	}
	f, err := l.firstSegment(&h, batches)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.WALOpenFreshSegment)
	if err := l.tidy(found, h.start); err != nil {
		_ = f.Close()
		return err
	}
	l.id, l.head, l.file = h.log, h, watchedFile{f, l.disk.w}
	l.written, l.synced = h.synced, h.synced
	l.begin.Store(h.begin)
	found.log = h.log
	l.keeper.closed = append(l.keeper.closed, found.segments...)
	if found.ckp != nil {
		l.keeper.last = found.ckp.checkpointHeader
		l.keeper.stats.Size, l.keeper.stats.At = found.ckp.size, time.Unix(0, found.ckp.time)
	}
	found.segments = append(found.segments, segment{
		segmentHeader: h, path: filepath.Join(l.dir, segmentName(h.number)), end: h.synced,
	})
	l.found = found
	l.store.next = h.number
	l.stock(l.fs)
	return nil
}

// firstSegment makes the fresh segment. On a disk that is full it takes the room that
// there is: what was begun can finish in little.
func (l *Log) firstSegment(h *segmentHeader, batches []byte) (vfs.File, error) {
	least := segmentHeaderSize + int64(len(batches)) + smallestRoom
	for h.size = max(l.segmentSize, least); ; h.size = max(h.size/2, least) {
		f, err := createSegment(l.fs, &l.names, h, batches, spare{})
		if !full(err) || h.size == least {
			return f, err
		}
	}
}

// smallestRoom is with how much room for batches a log is opened at least, in bytes.
const smallestRoom = 1 << 10

// takeOver returns the batches that the fresh segment begins with, and where
// they start: what may not be durable, or all of the newest segment if that is
// little, so that it can go. It is also all if nothing was written since that segment
// got its name: the sync of the name may have failed, and then a later one that
// succeeds proves nothing. A process whose sync succeeded writes behind it.
func (l *Log) takeOver(found *contents, number uint32) (start uint64, batches []byte, err error) {
	last := found.last()
	start = found.synced
	if found.end-last.start <= uint64(l.segmentSize/4) || found.end == last.synced {
		start = last.start
	}
	data, err := readFile(l.fs, last.path)
	if err != nil {
		return 0, nil, err
	}
	boundary := false
	end, err := last.walk(data, found.log, func(h batchHeader, _ []byte) error {
		at := h.place.position
		boundary = boundary || at == start
		if at < start {
			return nil
		}
		from := len(batches)
		batches = append(batches, data[last.offset(at):][:h.size()]...)
		stampBatch(batches[from:], place{found.log, number, at})
		return nil
	})
	if err == nil && (end != found.end || !boundary && start != end) {
		err = last.damaged(end, "this was good a moment ago: the file was changed, or the disk reads wrongly")
	}
	return start, batches, err
}

// appendHold appends the batch that a copied log goes on with. It is in the fresh
// segment from the beginning: once that has its name, nothing tells the copy any
// more.
func appendHold(batches []byte, found *contents, at place, now int64) ([]byte, error) {
	hold := &txlog.Hold{Reason: "the log's files are copies: it was copied, or restored from a copy"}
	err := found.replay(func(e txlog.Entry) error {
		if r, ok := e.Record.(*txlog.Incarnation); ok {
			hold.Through = max(hold.Through, r.Incarnation.Number)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	record, err := appendRecord(nil, hold)
	if err != nil {
		return nil, err
	}
	b := appendFramed(make([]byte, batchHeaderSize), record)
	return append(batches, sealBatch(b, 1, at, at.position, now)...), nil
}

// tidy removes what the fresh segment has superseded. Whether that is durable
// does not matter: it reads the same either way.
func (l *Log) tidy(found *contents, start uint64) error {
	for _, path := range found.stale {
		if err := remove(l.fs, path); err != nil {
			return err
		}
		failpoint.Hit(failpoint.WALOpenStaleRemoved)
	}
	kept := found.segments[:0]
	for _, s := range found.segments {
		s.end = min(s.end, start)
		if s.start >= s.end {
			if err := l.fs.Remove(s.path); err != nil {
				return err
			}
			failpoint.Hit(failpoint.WALOpenSuperseded)
			continue
		}
		if s.end == start {
			if err := l.fs.Truncate(s.path, s.offset(s.end)); err != nil {
				return err
			}
			s.cut = true
			failpoint.Hit(failpoint.WALOpenTailCut)
		}
		kept = append(kept, s)
	}
	found.segments = kept
	return nil
}
