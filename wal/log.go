package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc/internal/brief"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

// Log is an open log. It owns one goroutine, which Close waits for.
type Log struct {
	dir         string
	fs          vfs.FS
	segmentSize int64
	batchSize   int // a batch that is longer takes no further record
	lock        vfs.Lock
	id          protocol.LogID
	found       *contents // until Replay
	names       names
	store       store

	checkpointAfter  int64
	outcomeLimit     int
	outcomeRetention time.Duration
	onSynced         func(took time.Duration, records int) // may be nil

	_       apart
	mu      brief.Mutex
	work    sync.Cond // the writer waits here for queue or closing
	queue   []*batch
	spare   [][]byte // buffers of batches that are written
	group   []*batch // what the writer has in hand
	called  bool     // the writer knows of what is in the queue
	waits   bool     // it will when late fires
	late    *time.Timer
	closing bool
	look    bool  // the writer is to see whether its files are in place
	err     error // why nothing is taken any more
	broken  bool  // the log has failed

	_      apart
	failed chan struct{} // closed when the log fails
	stuck  chan struct{} // closed when it fails because a call does not return
	done   chan struct{} // closed when the writer has ended
	stats  counters

	clock  clock
	begin  atomic.Uint64 // there is a durable checkpoint up to here
	keeper keeper

	// Owned by the writer.
	disk     watched
	head     segmentHeader // of the newest segment
	file     vfs.File      // the newest segment; nil after a failure
	written  uint64        // everything before was written
	synced   uint64        // everything before is durable
	waiting  int           // records between the two
	closeErr error         // for Close, when done is closed
}

// apart keeps what every caller writes out of the cache lines of the rest.
type apart [128]byte

var (
	_ txlog.Log    = (*Log)(nil)
	_ txlog.Roomer = (*Log)(nil)
	_ txlog.Failer = (*Log)(nil)
)

// batch is a group of records on its way to the disk.
type batch struct {
	buf     []byte // room for the header, then the payload
	records uint32
	durable chan struct{} // made for the first who waits; closed when err is set
	err     error
	told    bool // err is set
}

// clock tells when what is remembered expires.
type clock struct {
	opened time.Time // when the log was opened
	wall   int64     // what the wall clock said then
}

// now is the time by the wall clock, but no later than what has passed since the log was
// opened makes it: a clock that is set forward, as one that was wrong when the machine
// started, expires nothing.
func (c *clock) now() int64 {
	now := time.Now()
	return min(now.UnixNano(), c.wall+int64(now.Sub(c.opened)))
}

// Batches of this size cost little more than small ones for each write.
const maxBatchSize = 256 << 10

func newLog(dir string, o Options, lock vfs.Lock) *Log {
	l := &Log{
		dir: dir, fs: o.FS, segmentSize: o.SegmentSize, lock: lock,
		batchSize:       int(min(maxBatchSize, o.SegmentSize/4)),
		checkpointAfter: o.CheckpointAfter,
		outcomeLimit:    o.OutcomeLimit, outcomeRetention: o.OutcomeRetention, onSynced: o.Synced,
		failed: make(chan struct{}), stuck: make(chan struct{}), done: make(chan struct{}),
	}
	l.work.L = &l.mu
	l.clock.opened = time.Now()
	l.clock.wall = l.clock.opened.UnixNano()
	l.keeper.wake, l.keeper.stop, l.keeper.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	l.disk = newWatched(o.FS, o.StallLimit, l.stalled)
	l.keeper.fs = newWatched(o.FS, o.StallLimit, l.stalled)
	l.late = time.AfterFunc(lateAfter, l.isLate)
	l.late.Stop()
	l.names = names{fs: newWatched(o.FS, o.StallLimit, l.stalled), dir: dir, turn: make(chan struct{}, 1)}
	return l
}

// ID implements [txlog.Log].
func (l *Log) ID() protocol.LogID { return l.id }

// Replay implements [txlog.Log].
func (l *Log) Replay(fn func(txlog.Entry) error) error {
	found := l.found
	l.found = nil
	if found == nil {
		return errors.New("wal: a log is replayed once")
	}
	err := found.replay(fn)
	l.keeper.replayed() // before, a checkpoint would free what is still to be read
	return err
}

// Append implements [txlog.Log]. The record is handed to the operating system as
// soon as the writer is idle, so that it survives the death of the process. The
// beginning and the end of a transaction go with the next record of another kind, or
// a moment later: to wake the writer for them alone would hold up a lone caller,
// who has participants to ask and the next transaction to begin.
func (l *Log) Append(r txlog.Record) error {
	_, err := l.add(r, false)
	return err
}

// Force implements [txlog.Log].
func (l *Log) Force(r txlog.Record) error {
	b, err := l.add(r, true)
	if err != nil {
		return err
	}
	<-b.durable
	return b.err
}

// add puts a record into the queue and returns its batch.
func (l *Log) add(r txlog.Record, wait bool) (*batch, error) {
	// On the stack and outside the lock: adding is then one short copy.
	var space [256]byte
	record, err := appendRecord(space[:0], r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", txlog.ErrRefused, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, fmt.Errorf("%w: %w", txlog.ErrRefused, l.err)
	}
	if len(l.queue) == 0 || len(l.queue[len(l.queue)-1].buf) >= l.batchSize {
		l.queue = append(l.queue, l.newBatch())
	}
	l.announce(!wait && mayWait(r.Kind()))
	b := l.queue[len(l.queue)-1]
	b.buf = appendFramed(b.buf, record)
	b.records++
	failpoint.Hit(failpoint.WALAppend)
	if wait && b.durable == nil {
		b.durable = make(chan struct{})
	}
	return b, nil
}

func (l *Log) newBatch() *batch {
	b := &batch{}
	if n := len(l.spare); n > 0 {
		b.buf, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		b.buf = make([]byte, batchHeaderSize, 4<<10)
	}
	return b
}

// Close implements [txlog.Log]. If the log has failed before it returns why, and
// leaves no mark of a clean end. Records that are added while Close runs are
// durable or refused. A second Close does nothing. A checkpoint that is being made
// is given up.
//
// After a call to the disk that did not return, Close does not wait for it: the
// goroutine that made it, and the lock, stay until it returns or the process ends.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closing
	l.closing = true
	if l.err == nil {
		l.err = ErrClosed
	}
	l.work.Signal()
	l.late.Stop()
	l.mu.Unlock()
	if !again {
		close(l.keeper.stop)
	}
	select {
	case <-l.done:
	case <-l.stuck:
		return fmt.Errorf("wal: closed after a failure: %w", l.Err())
	}
	if again {
		return nil
	}
	return l.closeErr
}

// Err returns why the log takes nothing more, or nil. It does not count Close as
// a reason.
func (l *Log) Err() error {
	select {
	case <-l.failed:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.err
	default:
		return nil
	}
}

// Failed returns a channel that is closed when the log fails: when a write or a
// sync went wrong, so that it takes nothing more.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Stats are counts since the log was opened.
type Stats struct {
	Forced   uint64 // syncs that somebody waited for
	Batches  uint64 // written
	Records  uint64 // written
	Bytes    uint64 // written, with headers
	LastSync time.Duration
	Free     int // files in store
}

type counters struct{ forced, batches, records, bytes, lastSync atomic.Uint64 }

// Stats returns the counts so far.
func (l *Log) Stats() Stats {
	return Stats{
		Forced:   l.stats.forced.Load(),
		Batches:  l.stats.batches.Load(),
		Records:  l.stats.records.Load(),
		Bytes:    l.stats.bytes.Load(),
		LastSync: time.Duration(l.stats.lastSync.Load()),
		Free:     l.store.len(),
	}
}
