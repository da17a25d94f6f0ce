// Package txlog says what a decision log is: the records a coordinator writes,
// the [Log] interface it writes them through, and the errors it must tell apart.
// Package wal keeps such a log in files; another store is another package that
// implements Log and passes the conformance suite in package dtctest.
//
// A log holds ids, states, votes and reasons. It never holds payloads, SQL or
// credentials.
package txlog

import (
	"errors"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// Log is an append-only sequence of records with one writer process. All methods
// may be called concurrently, except that Replay comes first and returns before
// any other call.
//
// The order of records is the order in which Append and Force were entered, as
// far as one happened before the other.
type Log interface {
	// ID names the log for ever. A copy of its files has the same id.
	ID() protocol.LogID

	// Replay calls fn once for each record that the log holds, oldest first. A log
	// that has compacted itself gives [Logged], [Horizon] and [Outcome] in place of
	// what it has dropped, and Through in an [Incarnation] as it was last. Replay
	// must be called once, before the first Append or Force. An error of fn ends
	// the replay and is returned.
	Replay(fn func(Entry) error) error

	// Append adds a record and waits for nothing: it becomes durable with a
	// later Force, or with Close, or is lost if power fails before. The record
	// is encoded before Append returns; the caller may reuse it.
	Append(Record) error

	// Force adds a record and returns when it, and every record before it, is
	// durable. Callers that wait at the same time share one forced write. The
	// caller may reuse the record.
	//
	// The error is one of three kinds. [ErrRefused]: the record is not in the
	// log and never will be. [ErrUnknown]: it may or may not be there; only the
	// next opening of the log can tell. [ErrLost]: this process does not own the
	// log any more.
	Force(Record) error

	// Close makes everything appended durable and gives up ownership.
	Close() error
}

// Roomer is the extra ability of a Log that can run out of room.
type Roomer interface {
	// Room returns an error that wraps [ErrNoRoom] while there is room only to
	// finish what has begun, so that nothing new must be begun; and nil as soon as
	// there is room again. It is cheap, and is asked before each transaction.
	Room() error
}

// Failer is the extra ability of a Log that tells when it fails by itself: an
// unforced write, for which nobody waits, may go wrong too.
type Failer interface {
	// Failed returns a channel that is closed when the log takes nothing more.
	Failed() <-chan struct{}
	// Err returns why.
	Err() error
}

// The errors of [Log.Append] and [Log.Force], for errors.Is.
var (
	// ErrRefused says that nothing was written: the record is not in the log and
	// never will be.
	ErrRefused = errors.New("txlog: record refused, nothing was written")
	// ErrUnknown says that the record may or may not be durable. The log takes
	// nothing more; every later record is refused.
	ErrUnknown = errors.New("txlog: not known whether the record is durable")
	// ErrLost says that another process owns the log now.
	ErrLost = errors.New("txlog: ownership lost")
	// ErrNoRoom is what [Roomer.Room] returns.
	ErrNoRoom = errors.New("txlog: no room for new transactions")
)

// Entry is a record as it is read back.
type Entry struct {
	// Position is where the batch that holds the record begins; it grows
	// along the log. Records of one batch share it.
	Position uint64
	// Time is when the batch was written, by the writer's wall clock. It informs
	// people; no rule reads it.
	Time   time.Time
	Record Record
}
