package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

// reserves is how many files are kept in store for segments to come. They are the
// room in which what was begun can finish when the disk is full: a decision and an
// end take less than a hundred bytes for a transaction with a few branches.
const reserves = 2

// maxFree bounds the store: more is kept of what checkpoints free, because a file
// that was written before is synced faster than a new one.
const maxFree = 4

// store is the files in store. It is filled by the keeper and emptied by the
// writer.
type store struct {
	mu    sync.Mutex
	files []spare
	next  uint32 // a number for a name
	mark  bool   // there is room for the mark of a clean Close as well

	short atomic.Pointer[error] // why it could not be filled, or nil
}

// spare is a file in store. It is open, so that a process which has used up its file
// descriptors has room for what it has begun all the same.
type spare struct {
	path string
	file vfs.File
}

// take takes a file of the usual size out of the store, if more than so many are in
// it; else it returns none.
func (s *store) take(leave int) spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.files)
	if n <= leave {
		return spare{}
	}
	taken := s.files[n-1]
	s.files = s.files[:n-1]
	return taken
}

// discard removes a file that was in store.
func (f spare) discard(fsys vfs.FS) error {
	f.close()
	return fsys.Remove(f.path)
}

func (f spare) close() { _ = f.file.Close() } // it holds nothing

// bare returns a file without the watchdog of the goroutine that opened it.
func bare(f vfs.File) vfs.File {
	if w, ok := f.(watchedFile); ok {
		return w.File
	}
	return f
}

func (s *store) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files)
}

// name returns a path for one more file.
func (s *store) name(dir string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return filepath.Join(dir, numbered(s.next, freeSuffix))
}

// add puts files in store. Their names must be durable: until then a power loss
// may give a file its old name back.
func (s *store) add(files ...spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, files...)
	if len(s.files) >= reserves {
		s.short.Store(nil)
	}
}

func (s *store) setShort(err error) { s.short.Store(&err) }

func (s *store) room() error {
	short := s.short.Load()
	if short == nil {
		return nil
	}
	remedy := "make room on its disk"
	if errors.Is(*short, syscall.EDQUOT) {
		remedy = "make room, or raise the quota of its owner"
	}
	if errors.Is(*short, syscall.EMFILE) || errors.Is(*short, syscall.ENFILE) {
		remedy = "close files, or raise the limit of file descriptors"
	}
	return fmt.Errorf("%w: %s: %w", txlog.ErrNoRoom, remedy, *short)
}

// full reports whether there was no room, on the disk or in what a quota allows.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// stock fills the store up to the reserve, with the file for the mark of a clean
// Close first, and remembers if it could not.
func (l *Log) stock(fsys vfs.FS) {
	if !l.store.mark {
		f, err := preallocate(fsys, filepath.Join(l.dir, temporaryMark), cleanSize)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			l.store.setShort(err)
			return
		}
		l.store.mark = true
	}
	for l.store.len() < reserves {
		path := l.store.name(l.dir)
		f, err := preallocate(fsys, path, l.segmentSize)
		if err != nil {
			l.store.setShort(err)
			return
		}
		// Its name need not be durable: what is lost is a file without meaning.
		l.store.add(spare{path, bare(f)})
		failpoint.Hit(failpoint.WALStocked)
	}
}

// nextSegment makes the next segment. The last file in store is taken only when no
// other can be made, so that there is one when it is found out that there is no
// room.
func (l *Log) nextSegment(h *segmentHeader) (vfs.File, error) {
	if h.size != l.segmentSize {
		return createSegment(l.disk, &l.names, h, nil, spare{})
	}
	free := l.takeSpare(1)
	f, err := createSegment(l.disk, &l.names, h, nil, free)
	if err == nil || free.path != "" || l.disk.w.over.Load() {
		return f, err
	}
	if free = l.takeSpare(0); free.path == "" {
		return nil, err
	}
	l.store.setShort(err)
	return createSegment(l.disk, &l.names, h, nil, free)
}

// takeSpare takes a file out of the store for the writer.
func (l *Log) takeSpare(leave int) spare {
	free := l.store.take(leave)
	if free.file != nil {
		free.file = watchedFile{free.file, l.disk.w}
	}
	return free
}

// Room implements [txlog.Roomer]: it returns an error while the disk has no room
// for the reserve.
func (l *Log) Room() error { return l.store.room() }
