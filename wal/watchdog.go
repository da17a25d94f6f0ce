package wal

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc/internal/vfs"
)

// watched is a file system that notices when a call does not return. One
// goroutine uses it at a time: the writer has one, and the keeper another.
//
// A call that is stuck in the kernel cannot be ended. What can be done is to tell
// everybody who waits that the outcome is not known, and to touch nothing after it
// has come back.
type watched struct {
	vfs.FS
	w *watchdog
}

type watchdog struct {
	limit time.Duration
	stall func(error)
	timer *time.Timer
	op    atomic.Pointer[string]
	over  atomic.Bool // a call took too long, or the log has failed
}

func newWatched(fsys vfs.FS, limit time.Duration, stall func(error)) watched {
	w := &watchdog{limit: limit, stall: stall}
	w.timer = time.AfterFunc(limit, w.bark)
	w.timer.Stop()
	return watched{fsys, w}
}

// stallError says which call did not return.
type stallError struct {
	op    string
	limit time.Duration
}

func (e *stallError) Error() string {
	return fmt.Sprintf("the disk did not answer a %s within %v", e.op, e.limit)
}

func (w *watchdog) bark() {
	w.over.Store(true)
	if op := w.op.Load(); op != nil {
		w.stall(&stallError{*op, w.limit})
	}
}

// watch carries out one call. After one that took too long nothing is called any
// more.
func (w *watchdog) watch(op *string, call func() error) error {
	if w.over.Load() {
		return &stallError{*op, w.limit}
	}
	w.op.Store(op)
	w.timer.Reset(w.limit)
	err := call()
	w.timer.Stop()
	if w.over.Load() {
		return &stallError{*op, w.limit}
	}
	return err
}

// The names of calls, kept so that watching one allocates nothing.
var (
	opCreate      = "create"
	opOpen        = "open"
	opRemove      = "remove"
	opRename      = "rename"
	opTruncate    = "truncate"
	opSyncDir     = "sync of the directory"
	opRead        = "read"
	opWrite       = "write"
	opSync        = "sync"
	opPreallocate = "preallocation"
	opLook        = "look at a name"
)

func (f watched) file(op *string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.w.watch(op, func() (err error) { file, err = open(); return err })
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return watchedFile{file, f.w}, nil
}

// Create implements [vfs.FS].
func (f watched) Create(path string) (vfs.File, error) {
	return f.file(&opCreate, func() (vfs.File, error) { return f.FS.Create(path) })
}

// Open implements [vfs.FS].
func (f watched) Open(path string) (vfs.File, error) {
	return f.file(&opOpen, func() (vfs.File, error) { return f.FS.Open(path) })
}

// OpenWrite implements [vfs.FS].
func (f watched) OpenWrite(path string) (vfs.File, error) {
	return f.file(&opOpen, func() (vfs.File, error) { return f.FS.OpenWrite(path) })
}

// Remove implements [vfs.FS].
func (f watched) Remove(path string) error {
	return f.w.watch(&opRemove, func() error { return f.FS.Remove(path) })
}

// Rename implements [vfs.FS].
func (f watched) Rename(from, to string) error {
	return f.w.watch(&opRename, func() error { return f.FS.Rename(from, to) })
}

// Truncate implements [vfs.FS].
func (f watched) Truncate(path string, size int64) error {
	return f.w.watch(&opTruncate, func() error { return f.FS.Truncate(path, size) })
}

// SyncDir implements [vfs.FS].
func (f watched) SyncDir(dir string) error {
	return f.w.watch(&opSyncDir, func() error { return f.FS.SyncDir(dir) })
}

type watchedFile struct {
	vfs.File
	w *watchdog
}

var _ io.ReaderAt = watchedFile{}

// ReadAt implements [vfs.File].
func (f watchedFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.w.watch(&opRead, func() (err error) { n, err = f.File.ReadAt(b, off); return err })
	return n, err
}

// WriteAt implements [vfs.File].
func (f watchedFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.w.watch(&opWrite, func() (err error) { n, err = f.File.WriteAt(b, off); return err })
	return n, err
}

// Sync implements [vfs.File].
func (f watchedFile) Sync() error { return f.w.watch(&opSync, f.File.Sync) }

// NamedBy implements [vfs.File].
func (f watchedFile) NamedBy(path string) (named bool, err error) {
	err = f.w.watch(&opLook, func() (err error) { named, err = f.File.NamedBy(path); return err })
	return named, err
}

// Preallocate implements [vfs.File].
func (f watchedFile) Preallocate(size int64) error {
	return f.w.watch(&opPreallocate, func() error { return f.File.Preallocate(size) })
}
