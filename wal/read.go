package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

const (
	lockName  = "LOCK"
	cleanName = "clean"
)

// contents is what the files of a log say, read without changing them.
type contents struct {
	fs  vfs.FS
	dir string

	log      protocol.LogID
	ckp      *checkpointFile // or nil
	stale    []string        // files that the checkpoint stands for
	closed   bool            // there is a clean file
	cleanEnd uint64          // what it says
	segments []segment       // by number; none: the directory holds no log
	end      uint64          // of the last good batch
	synced   uint64          // what is durable for certain
	tail     int64           // bytes of batches behind end, whole or torn
	batches  int
	records  int
	clean    bool // a clean Close proves that all of it is durable
	moved    bool // the newest segment is a copy of the file that it was made as

	progress func(read, total int64)
	read     int64
	total    int64 // bytes of all files
}

// begin returns the position from which on segments are the log.
func (c *contents) begin() uint64 {
	if c.ckp == nil {
		return 0
	}
	return c.ckp.end
}

type segment struct {
	segmentHeader
	path string
	end  uint64 // where the next one begins, or the log ends
	cut  bool   // the file has lost the room behind its end
}

// last returns the newest segment.
func (c *contents) last() *segment { return &c.segments[len(c.segments)-1] }

// readContents reads and checks the whole log in dir. With a [*CorruptError] it
// also returns what is good before the damage.
func readContents(fsys vfs.FS, dir string, progress func(read, total int64)) (*contents, error) {
	c := &contents{fs: fsys, dir: dir, progress: progress}
	// The clean file first: if the log is in use, segments only grow meanwhile.
	if err := c.readClean(); err != nil {
		return c, err
	}
	if err := c.readHeaders(); err != nil {
		return c, err
	}
	if len(c.segments) == 0 {
		return c, nil
	}
	c.synced = c.cleanEnd
	for i := range c.segments {
		c.synced = max(c.synced, c.segments[i].synced)
	}
	if c.ckp != nil {
		if err := c.readCheckpoint(); err != nil {
			return c, err
		}
	}
	for i := range c.segments {
		if err := c.readSegment(i); err != nil {
			return c, err
		}
	}
	c.clean = c.closed && c.cleanEnd == c.end && c.tail == 0
	return c, nil
}

// readCheckpoint checks all of the checkpoint.
func (c *contents) readCheckpoint() error {
	err := c.ckp.each(c.fs, func(txlog.Entry) error { c.records++; return nil })
	c.advance(c.ckp.size)
	return err
}

// advance tells how much has been read.
func (c *contents) advance(bytes int64) {
	c.read += bytes
	if c.progress != nil {
		c.progress(c.read, c.total)
	}
}

func (c *contents) readClean() error {
	path := filepath.Join(c.dir, cleanName)
	b, err := readFile(c.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.log, c.cleanEnd, c.closed = parseClean(b); !c.closed {
		return &CorruptError{File: path, Why: "the mark of the last clean close is not what was written; " +
			"if all else is well, removing this file lets the log open without its protection"}
	}
	return nil
}

// readHeaders finds the checkpoint and the segments, and checks that together they
// can be a log.
func (c *contents) readHeaders() error {
	all, err := c.fs.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("wal: read directory: %w", err)
	}
	if err := c.findCheckpoint(all); err != nil {
		return err
	}
	for _, number := range numbersOf(all, segmentSuffix) {
		path := filepath.Join(c.dir, segmentName(number))
		if c.ckp != nil && number <= c.ckp.number {
			c.stale = append(c.stale, path)
			continue
		}
		h, file, size, err := c.readHeader(path, number)
		if foreign := (*NotLogError)(nil); errors.As(err, &foreign) && (c.closed || c.ckp != nil || len(numbersOf(all, segmentSuffix)) > 1) {
			// What stands beside it says that this is a log, and it needs this file.
			return &CorruptError{File: path, Why: "by its first bytes it is no segment, but other files of this log are here: it was overwritten"}
		}
		if err != nil {
			return err
		}
		c.total += size
		c.moved = file != h.file
		if len(c.segments) == 0 && !c.closed && c.ckp == nil {
			c.log = h.log
		}
		if h.log != c.log {
			return &CorruptError{File: path, Why: fmt.Sprintf("it belongs to log %v, the files before it to log %v", h.log, c.log)}
		}
		if n := len(c.segments); n > 0 {
			if h.start < c.segments[n-1].start {
				return &CorruptError{File: path, Why: "it begins before the segment before it"}
			}
			c.segments[n-1].end = h.start
		}
		c.segments = append(c.segments, segment{segmentHeader: h, path: path, end: 1<<64 - 1, cut: size != h.size})
	}
	return c.fits()
}

// findCheckpoint finds the checkpoint that counts.
func (c *contents) findCheckpoint(all []string) error {
	for _, number := range numbersOf(all, checkpointSuffix) {
		path := filepath.Join(c.dir, checkpointName(number))
		if c.ckp != nil {
			c.stale = append(c.stale, c.ckp.path)
		}
		c.ckp = &checkpointFile{path: path, checkpointHeader: checkpointHeader{number: number}}
	}
	if c.ckp == nil {
		return nil
	}
	ckp, err := openCheckpoint(c.fs, c.ckp.path, c.ckp.number)
	if err != nil {
		return err
	}
	if c.closed && ckp.log != c.log {
		return &CorruptError{File: ckp.path, Why: fmt.Sprintf("it belongs to log %v, the files before it to log %v", ckp.log, c.log)}
	}
	c.ckp, c.log, c.total = ckp, ckp.log, ckp.size
	return nil
}

// fits checks that nothing is missing between the checkpoint and the end.
func (c *contents) fits() error {
	if len(c.segments) == 0 {
		switch {
		case c.ckp != nil:
			return &CorruptError{File: c.dir, Why: "there is a checkpoint, but the segments behind it are missing"}
		case c.closed:
			return &CorruptError{File: c.dir, Why: "the log was closed cleanly, but all its segments are missing"}
		}
		return nil
	}
	for i := range c.segments {
		if s := &c.segments[i]; s.begin > c.begin() {
			return &CorruptError{File: s.path, Why: fmt.Sprintf(
				"when it was made there was a checkpoint up to position %d: that, or a later one, is missing", s.begin)}
		}
	}
	if first := &c.segments[0]; first.start != c.begin() {
		return &CorruptError{File: first.path, Why: fmt.Sprintf(
			"the log goes on at position %d, this first segment begins at %d: one before it is missing", c.begin(), first.start)}
	}
	return nil
}

// readHeader reads a segment's header, and which file it is in.
func (c *contents) readHeader(path string, number uint32) (h segmentHeader, file vfs.Identity, size int64, err error) {
	f, err := c.fs.Open(path)
	if err != nil {
		return h, file, 0, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	b := make([]byte, segmentHeaderSize)
	n, err := f.ReadAt(b, 0)
	if err == nil || errors.Is(err, io.EOF) {
		file, err = f.Identity()
	}
	if err == nil {
		size, err = f.Size()
	}
	if err != nil {
		return h, file, 0, fmt.Errorf("wal: %w", err)
	}
	h, err = parseSegmentHeader(b[:n], path, number)
	return h, file, size, err
}

// numbersOf returns the numbers of the names with a suffix, ascending.
func numbersOf(all []string, suffix string) (numbers []uint32) {
	for _, name := range all {
		if number, ok := parseName(name, suffix); ok {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// readSegment checks segment i and finds its end if it is the newest.
func (c *contents) readSegment(i int) error {
	s := &c.segments[i]
	if s.start == s.end { // superseded by the next one
		return nil
	}
	data, err := readFile(c.fs, s.path)
	if err != nil {
		return err
	}
	at, err := s.walk(data, c.log, func(h batchHeader, payload []byte) error {
		c.batches++
		c.records += int(h.records)
		c.synced = max(c.synced, h.synced)
		return decodePayload(payload, h.records, decodeRecord, func(txlog.Record) error { return nil })
	})
	c.end = at
	c.advance(int64(len(data)))
	if err != nil {
		return err
	}
	newest := i == len(c.segments)-1
	if !newest {
		if at != s.end {
			return s.damaged(at, fmt.Sprintf("segment %d says that everything before position %d is durable, but this one is good only up to position %d",
				c.segments[i+1].number, s.end, at))
		}
		return nil
	}
	s.end = at
	if size := int64(len(data)); size < s.size && !(c.closed && size == s.offset(c.cleanEnd)) {
		return s.damaged(at, fmt.Sprintf("the file was made %d bytes long and is cut to %d", s.size, size))
	}
	c.lookBehind(s, data, at)
	if c.synced > at && !canary.On(canary.CutDurable) {
		return s.damaged(at, fmt.Sprintf("the log is known to be durable up to position %d, but is good only up to position %d", c.synced, at))
	}
	return nil
}

// lookBehind reads what the good batches behind the first bad one say, and
// measures what of this segment stands there. The rest is zeros, or what the file
// held in an earlier life.
func (c *contents) lookBehind(s *segment, data []byte, end uint64) {
	from := s.offset(end)
	if from >= int64(len(data)) {
		return
	}
	rest := data[from:]
	for off := 0; off+batchHeaderSize <= len(rest); off += 8 {
		if string(rest[off:off+len(batchMagic)]) != batchMagic {
			continue
		}
		at := place{c.log, s.number, end + uint64(off)}
		h, _, good := parseBatch(rest[off:], at)
		switch {
		case good:
			c.synced = max(c.synced, h.synced)
			c.tail = int64(off + h.size())
		case placeOf(rest[off:]) == at:
			c.tail = max(c.tail, int64(off+batchHeaderSize))
		}
	}
}

// offset returns where in the file a position is.
func (h *segmentHeader) offset(position uint64) int64 {
	return segmentHeaderSize + int64(position-h.start)
}

func (s *segment) damaged(position uint64, why string) error {
	return &CorruptError{File: s.path, Offset: s.offset(position), Why: why}
}

// walk calls fn for the good batches of data, which is the whole file, up to the
// segment's end, and returns the position of what follows them.
func (s *segment) walk(data []byte, log protocol.LogID, fn func(batchHeader, []byte) error) (uint64, error) {
	at := s.start
	for at < s.end {
		off := s.offset(at)
		if off >= int64(len(data)) {
			break
		}
		h, payload, ok := parseBatch(data[off:], place{log, s.number, at})
		if !ok {
			break
		}
		if h.synced > at {
			return at, s.damaged(at, "the batch contradicts itself")
		}
		if err := fn(h, payload); err != nil {
			return at, s.damaged(at, err.Error())
		}
		at += uint64(h.size())
	}
	return at, nil
}

// replay calls fn for each entry up to the end that was found by readContents.
func (c *contents) replay(fn func(txlog.Entry) error) error {
	if c.ckp != nil {
		if err := c.ckp.each(c.fs, fn); err != nil {
			return err
		}
	}
	for i := range c.segments {
		s := c.segments[i]
		s.end = min(s.end, c.end)
		if s.start >= s.end {
			continue
		}
		if err := s.replay(c.fs, c.log, fn); err != nil {
			return err
		}
	}
	return nil
}

// replay calls fn for each entry of a segment, whose end is known.
func (s *segment) replay(fsys vfs.FS, log protocol.LogID, fn func(txlog.Entry) error) error {
	data, err := readFile(fsys, s.path)
	if err != nil {
		return err
	}
	var stop error
	at, err := s.walk(data, log, func(h batchHeader, payload []byte) error {
		e := txlog.Entry{Position: h.place.position, Time: time.Unix(0, h.time)}
		return decodePayload(payload, h.records, decodeRecord, func(r txlog.Record) error {
			e.Record = r
			stop = fn(e)
			return stop
		})
	})
	if stop != nil || err != nil {
		return cmp.Or(stop, err)
	}
	if at != s.end {
		return s.damaged(at, "this was good a moment ago: the file was changed, or the disk reads wrongly")
	}
	return nil
}

func readFile(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("wal: read %s: %w", path, err)
	}
	return b[:n], nil
}
