package wal

import (
	"errors"
	"fmt"
)

// ErrClosed is the cause of a refusal after Close.
var ErrClosed = errors.New("wal: log is closed")

// InUseError says that another process, or another Log of this one, has the log
// open. Nothing was changed.
type InUseError struct {
	Dir string
	PID int // of the holder, or 0 if it cannot be told
}

// Error implements error.
func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("wal: %s is in use by %s: stop it, or choose another directory", e.Dir, holder)
}

// CorruptError says that something which was durable is damaged or missing. The
// log is refused and nothing was changed: restore the files, from a backup if
// need be. Cutting it by hand can lose decisions that participants have acted
// on.
type CorruptError struct {
	File   string
	Offset int64 // in the file
	Why    string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s is damaged at offset %d: %s", e.File, e.Offset, e.Why)
}

// GoneError says that the path of an open log no longer leads to its files: the
// directory or a file of it was removed, renamed, or replaced by another one. The log
// has failed: what it went on to decide, no later Open at that path would know.
type GoneError struct {
	File string // the newest segment, or the directory
	Why  string
}

// Error implements error.
func (e *GoneError) Error() string {
	return fmt.Sprintf("wal: %s: %s: stop this process, and put the directory back before the next start if it still exists", e.File, e.Why)
}

// VersionError says that the log was written in a format this program does not
// know. Nothing was changed.
type VersionError struct {
	File             string
	Found, Supported uint32
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("wal: %s has format version %d, this program knows versions up to %d: use the program that wrote it, or a newer one",
		e.File, e.Found, e.Supported)
}

// NotLogError says that a file with the name of a segment is none. Nothing was
// changed.
type NotLogError struct{ File string }

// Error implements error.
func (e *NotLogError) Error() string {
	return fmt.Sprintf("wal: %s is not a segment of a decision log, by its first bytes: choose another directory, or restore the file if it was one", e.File)
}

// NoLogError says that a directory holds no log to read.
type NoLogError struct{ Dir string }

// Error implements error.
func (e *NoLogError) Error() string {
	return fmt.Sprintf("wal: there is no decision log in %s", e.Dir)
}

// ChangedError says that files of a log which was sound went away or changed while they
// were read, as they do beside a coordinator that uses it. It is no damage: open the log
// once more.
type ChangedError struct {
	Err error // what the reader came upon
}

// Error implements error.
func (e *ChangedError) Error() string {
	return "wal: the log changed while it was read, read it again: " + e.Err.Error()
}
