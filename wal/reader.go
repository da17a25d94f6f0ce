package wal

import (
	"errors"
	"io/fs"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// Reader reads a log without changing anything and without taking its lock: a
// coordinator may be using it meanwhile. It holds no resources.
type Reader struct {
	found  *contents
	damage error
}

// Report is what [Reader.Verify] found.
type Report struct {
	Segments int
	Batches  int
	Records  int
	End      uint64 // position behind the last good batch
	Synced   uint64 // position up to which the log is durable for certain
	Tail     int64  // bytes behind End that the next Open would cut
	Clean    bool   // closed cleanly, and not used since
	Copied   bool   // the newest segment is a copy: the next Open begins a hold

	Checkpoint     int64     // size of the checkpoint, or 0
	CheckpointTime time.Time // when it was made
	Bytes          int64     // size of all files that the log is read from
}

// OpenReadOnly reads and checks the log in dir. A log that is damaged can be
// opened, to see what of it is good: [Reader.Verify] tells. The error is a
// [*NoLogError], or what kept the files from being read.
func OpenReadOnly(dir string, o *Options) (*Reader, error) {
	opts := o.withDefaults()
	fsys, progress := opts.FS, opts.Progress
	r := &Reader{}
	// What looks like damage may be a file that was written or replaced while it
	// was read. Then a second look sees something else.
	for again := true; again; {
		found, err := readContents(fsys, dir, progress)
		again = err != nil && (r.damage == nil || err.Error() != r.damage.Error())
		r.found, r.damage = found, err
	}
	if r.damage == nil && len(r.found.segments) == 0 ||
		errors.Is(r.damage, fs.ErrNotExist) && len(r.found.segments) == 0 {
		return nil, &NoLogError{Dir: dir}
	}
	if !isRefusal(r.damage) {
		return nil, r.damage
	}
	return r, nil
}

// isRefusal reports whether err, if any, is about what the files say.
func isRefusal(err error) bool {
	var corrupt *CorruptError
	var version *VersionError
	var foreign *NotLogError
	return err == nil || errors.As(err, &corrupt) || errors.As(err, &version) || errors.As(err, &foreign)
}

// ID returns the log's id.
func (r *Reader) ID() protocol.LogID { return r.found.log }

// Verify reports what is good, with the error that Open would return.
func (r *Reader) Verify() (Report, error) {
	c := r.found
	report := Report{
		Segments: len(c.segments),
		Batches:  c.batches,
		Records:  c.records,
		End:      c.end,
		Synced:   min(c.synced, c.end),
		Tail:     c.tail,
		Clean:    c.clean,
		Copied:   c.moved,
		Bytes:    c.total,
	}
	if c.ckp != nil {
		report.Checkpoint, report.CheckpointTime = c.ckp.size, time.Unix(0, c.ckp.time)
	}
	return report, r.damage
}

// Replay calls fn for each good record up to the end or to the damage, oldest
// first. An error of fn ends the replay and is returned; otherwise the error is
// that of Verify, or a [*ChangedError]. It may be called more than once.
func (r *Reader) Replay(fn func(txlog.Entry) error) error {
	var stop error
	err := r.found.replay(func(e txlog.Entry) error {
		stop = fn(e)
		return stop
	})
	switch {
	case stop != nil:
		return stop
	case err != nil:
		return &ChangedError{err}
	default:
		return r.damage
	}
}
