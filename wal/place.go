package wal

import (
	"path/filepath"
)

// inPlace returns a [*GoneError] if the path of the log does not lead to the newest
// segment, which the writer has just synced, or if another process can have the lock.
//
// It comes after each sync and before anybody is told. So whatever was told was
// durable while the path still led here: who opens the log at that path afterwards has
// either these very files, with that record, or others, which were put there later.
// What is told between the look and the exchange is as if the exchange had come after
// it: such a log has lost what it was told, by the hand that exchanged it.
func (l *Log) inPlace() error {
	path := filepath.Join(l.dir, segmentName(l.head.number))
	named, err := l.file.NamedBy(path)
	switch {
	case err != nil:
		return &GoneError{path, "it cannot be seen whether this is still the log: " + err.Error()}
	case !named:
		return &GoneError{path, "this is not the file that the log is in: it, or its directory, was removed, renamed or replaced"}
	}
	if err := l.lock.Held(); err != nil {
		return &GoneError{l.dir, "another process can have taken the lock: " + err.Error()}
	}
	return nil
}

// lookAround makes the writer look when nothing else makes it: a coordinator that only
// waits shall notice too, before it asks participants for work that comes to nothing.
func (l *Log) lookAround() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.look = true
		l.work.Signal()
	}
}
