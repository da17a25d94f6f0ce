package logcheck

import "fmt"

// Version is the newest format that this package knows.
const Version = 2

// Damage says that something which must be good is not, or is missing.
type Damage struct {
	File   string
	Offset int64 // in the file
	Why    string
}

// Error implements error.
func (e *Damage) Error() string {
	return fmt.Sprintf("logcheck: %s is damaged at offset %d: %s", e.File, e.Offset, e.Why)
}

// Contradiction says that the files are good but that a record in them cannot
// stand where it stands. Only a program that is wrong writes such a log.
type Contradiction struct {
	File   string
	Offset int64 // of the batch, in the file
	Record string
	Why    string
}

// Error implements error.
func (e *Contradiction) Error() string {
	return fmt.Sprintf("logcheck: %s at offset %d: the record %q contradicts the log: %s", e.File, e.Offset, e.Record, e.Why)
}

// NewerVersion says that a file has a version of the format that this package
// does not know.
type NewerVersion struct {
	File  string
	Found uint32
}

// Error implements error.
func (e *NewerVersion) Error() string {
	return fmt.Sprintf("logcheck: %s has format version %d, this program knows version %d", e.File, e.Found, Version)
}

// NotLog says that a file which has the name of a segment or a checkpoint is
// none, and that nothing beside it shows that there ever was a log.
type NotLog struct{ File string }

// Error implements error.
func (e *NotLog) Error() string {
	return fmt.Sprintf("logcheck: %s is no part of a decision log, by its first bytes", e.File)
}

// NoLog says that a directory holds no log.
type NoLog struct{ Dir string }

// Error implements error.
func (e *NoLog) Error() string { return fmt.Sprintf("logcheck: there is no decision log in %s", e.Dir) }
