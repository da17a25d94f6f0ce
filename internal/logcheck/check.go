package logcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Entry is a record where it was found.
type Entry struct {
	Record       *Record
	Position     uint64 // of its batch; in a checkpoint counted from its beginning
	Time         int64  // of its batch, nanoseconds since 1970
	InCheckpoint bool
}

// String returns the entry as one line.
func (e Entry) String() string {
	where := "log"
	if e.InCheckpoint {
		where = "ckp"
	}
	return fmt.Sprintf("%s %d %d %s", where, e.Position, e.Time, e.Record)
}

// Report is what Check found.
type Report struct {
	Log        LogID
	Checkpoint uint32 // its number; 0 if there is none
	From       uint64 // position up to which the checkpoint stands for the log
	Segments   int    // those behind the checkpoint
	Batches    int    // with those of the checkpoint
	Records    int    // with those of the checkpoint
	Folded     int    // those of the checkpoint
	End        uint64 // position behind the last good batch
	Synced     uint64 // position up to which the log is durable for certain
	Tail       int64  // bytes behind End, up to the last batch that was written there, whole or torn
	Clean      bool   // closed cleanly, and not used since

	Incarnations   int
	Unfinished     int // transactions without an end
	Contradictions int
}

// Check reads the log in dir and calls fn, which may be nil, for every good
// record, oldest first. The error is a *NoLog, *NotLog, *NewerVersion, *Damage,
// or the first *Contradiction if that is all that is wrong; or what kept a file
// from being read, or what fn returned. With an error the report says what is good
// before the damage, and fn may have been called.
func Check(dir string, files FS, fn func(Entry) error) (Report, error) {
	c := check{dir: dir, files: files, fn: fn, history: newHistory()}
	err := c.run()
	c.report.Incarnations, c.report.Unfinished = len(c.history.reserved), len(c.history.open)
	if err == nil && c.contradiction != nil {
		err = c.contradiction
	}
	return c.report, err
}

type check struct {
	dir     string
	files   FS
	fn      func(Entry) error
	report  Report
	history *history

	checkpoint *checkpoint
	segments   []segment
	clean      []byte // the clean file, nil if there is none
	closed     uint64 // the position in it

	contradiction error // the first
}

func (c *check) run() error {
	if err := c.list(); err != nil {
		return err
	}
	if err := c.place(); err != nil {
		return err
	}
	if c.checkpoint != nil {
		if err := c.readCheckpoint(); err != nil {
			return err
		}
	}
	return c.readSegments()
}

// numbered returns the number in a name like 00000007.seg. Other spellings are
// other names, which are left alone.
func numbered(name, ext string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, ext)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 || name != fmt.Sprintf("%08d%s", n, ext) {
		return 0, false
	}
	return uint32(n), true
}

// list reads the headers of all files that count.
func (c *check) list() error {
	names, err := c.files.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &NoLog{c.dir}
	} else if err != nil {
		return err
	}
	var segments []uint32
	newest := uint32(0) // of the checkpoints
	for _, name := range names {
		if n, ok := numbered(name, ".seg"); ok {
			segments = append(segments, n)
		} else if n, ok := numbered(name, ".ckp"); ok {
			newest = max(newest, n)
		}
	}
	slices.Sort(segments)
	segments = slices.DeleteFunc(segments, func(n uint32) bool { return n <= newest })
	var errs verdicts
	// The clean file is read before the segments and the headers before the
	// batches: what somebody writes meanwhile is then never missed by what was read.
	if slices.Contains(names, "clean") {
		if err := c.readClean(&errs); err != nil {
			return err
		}
	}
	if newest > 0 {
		if err := c.readHeader(fmt.Sprintf("%08d.ckp", newest), checkpointHeader, func(path string, b []byte, size int64) {
			p, foreign, err := parseCheckpoint(path, b, newest, size)
			c.checkpoint = &p
			errs.add(foreign, err)
		}); err != nil {
			return err
		}
	}
	for _, n := range segments {
		if err := c.readHeader(fmt.Sprintf("%08d.seg", n), segmentHeader, func(path string, b []byte, _ int64) {
			s, foreign, err := parseSegment(path, b, n)
			c.segments = append(c.segments, s)
			errs.add(foreign, err)
		}); err != nil {
			return err
		}
	}
	if errs.files == 0 {
		return &NoLog{c.dir}
	}
	return errs.verdict()
}

func (c *check) readHeader(name string, length int, parse func(path string, b []byte, size int64)) error {
	w, err := openWindow(c.files, join(c.dir, name))
	if err != nil {
		return err
	}
	defer w.close()
	b, err := w.at(0, int(min(w.size, int64(length))))
	if err == nil {
		parse(w.path, b, w.size)
	}
	return err
}

func (c *check) readClean(errs *verdicts) error {
	return c.readHeader("clean", cleanSize+1, func(path string, b []byte, _ int64) {
		log, position, err := parseClean(path, b)
		c.clean = append([]byte{}, b...)
		c.closed = position
		c.report.Log = log // until a header says it
		errs.add(false, err)
	})
}

// place checks that the files fit together: one log, and each begins where what
// stands before it ends.
func (c *check) place() error {
	base, number := uint64(0), uint32(0)
	switch {
	case c.checkpoint != nil:
		c.report.Log, c.report.Checkpoint, c.report.From = c.checkpoint.log, c.checkpoint.number, c.checkpoint.end
		base, number = c.checkpoint.end, c.checkpoint.number
	case len(c.segments) > 0:
		c.report.Log = c.segments[0].log
	}
	c.report.End, c.report.Segments = base, len(c.segments)
	if len(c.segments) == 0 {
		return &Damage{join(c.dir, fmt.Sprintf("%08d.seg", number+1)), 0, "it is missing, with every segment after it"}
	}
	if c.clean != nil {
		if log, _, _ := parseClean("", c.clean); log != c.report.Log {
			return &Damage{join(c.dir, "clean"), 12, "it belongs to another log"}
		}
	}
	at := base
	for i, s := range c.segments {
		switch {
		case s.log != c.report.Log:
			return &Damage{s.path, 16, "it belongs to another log"}
		case s.begin > base:
			return &Damage{s.path, 48, fmt.Sprintf("it was made when a checkpoint up to position %d was durable, and that is gone", s.begin)}
		case i == 0 && s.start != base:
			return &Damage{s.path, 32, fmt.Sprintf("it begins at position %d, but the log goes on at position %d", s.start, base)}
		case s.start < at:
			return &Damage{s.path, 32, fmt.Sprintf("it begins at position %d, before the segment that it follows", s.start)}
		case s.start > math.MaxInt64:
			return &Damage{s.path, 32, "it begins where no log can be"}
		}
		at = s.start
		c.report.Synced = max(c.report.Synced, s.synced)
	}
	c.report.Synced = max(c.report.Synced, c.closed, base)
	return nil
}
