// Package vfs is the seam between the decision log and the disk: the few file
// operations that the log needs, each with its promise about power loss. [OS] is
// the real thing; [Mem] is a disk that a test can crash, fill up and break.
//
// Two rules of real disks shape the interface. What was written is durable only
// after Sync, and until then any part of it may reach the disk in any order. A
// name that was created, renamed or removed is durable only after SyncDir.
package vfs

import (
	"fmt"
	"io"
)

// FS is a file system. Its methods may be called concurrently.
type FS interface {
	// MkdirAll creates dir and its missing parents with mode 0700, and makes
	// what it created durable.
	MkdirAll(dir string) error

	// Create creates a file with mode 0600 for reading and writing. It fails if
	// the name exists.
	Create(path string) (File, error)

	// Open opens a file for reading.
	Open(path string) (File, error)

	// OpenWrite opens a file that exists for reading and writing.
	OpenWrite(path string) (File, error)

	// ReadDir returns the names in dir, sorted.
	ReadDir(dir string) ([]string, error)

	Remove(path string) error
	Rename(from, to string) error

	// Truncate cuts a file to size bytes. Durable with the file's next Sync.
	Truncate(path string, size int64) error

	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error

	// Lock takes the exclusive lock that path stands for, creating the file and
	// writing this process's id into it. It never waits for the lock: if somebody
	// holds it the error is a [*LockedError]. The lock ends with Close or with the
	// process.
	Lock(path string) (Lock, error)
}

// Lock is a lock that is held. It is on the directory itself where the file system
// can do that: who removes the file named in it opens the way to nobody.
type Lock interface {
	io.Closer

	// Inside returns the file system of the locked directory, whatever becomes of its
	// name: when another directory has taken the name, nothing that is done here
	// reaches that one. It takes the paths that were right when the lock was taken,
	// and works until Close.
	Inside() FS

	// Held returns an error when somebody else can have taken the lock meanwhile.
	Held() error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync makes the file's bytes and its size durable. After it failed once,
	// nothing is known about the file's unsynced part, and a second Sync that
	// succeeds proves nothing: the kernel may have dropped the data.
	Sync() error

	// Size returns the file's length in bytes.
	Size() (int64, error)

	// Preallocate makes a file of at most size bytes that long and gives it the
	// room for it, and makes both durable, so that later writes within it change
	// no metadata. What the file held stays, or becomes zeros.
	Preallocate(size int64) error

	// NamedBy reports whether a path leads to this file now, and not to another one
	// or to nothing.
	NamedBy(path string) (bool, error)

	// Identity tells the file from a copy of it. It is the file's for as long as
	// the file exists, whatever its name.
	Identity() (Identity, error)
}

// Identity is what a file system knows a file by: zero in a field that it does not
// have.
type Identity struct {
	Inode uint64
	Birth int64 // when the file was made, nanoseconds since 1970
}

// LockedError says that another process holds a lock.
type LockedError struct {
	Path string
	PID  int // the holder, or 0 if it cannot be told
}

// Error implements error.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", e.Path)
	}
	return fmt.Sprintf("%s is locked by process %d", e.Path, e.PID)
}
