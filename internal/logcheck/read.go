package logcheck

import (
	"fmt"
	"math"
)

// readCheckpoint reads the batches of the checkpoint, every one of which must be
// good.
func (c *check) readCheckpoint() error {
	w, err := openWindow(c.files, c.checkpoint.path)
	if err != nil {
		return err
	}
	defer w.close()
	p := place{log: c.checkpoint.log, number: c.checkpoint.number, header: checkpointHeader}
	var outcomes uint64
	off := int64(checkpointHeader)
	for off < w.size {
		b, good, err := batchAt(w, p, off)
		switch {
		case err != nil:
			return err
		case !good:
			return &Damage{w.path, off, "a batch of the checkpoint is not good"}
		case b.synced != 0:
			return &Damage{w.path, off + 24, "a batch of the checkpoint says what is durable"}
		}
		err = c.decode(w.path, p, off, b, func(r *Record) string {
			if r.Kind == Outcome {
				outcomes++
			}
			return c.history.fold(r)
		})
		if err != nil {
			return err
		}
		off += b.size
	}
	c.report.Folded = c.report.Records
	switch {
	case uint64(c.report.Folded) != c.checkpoint.records:
		return &Damage{w.path, 48, fmt.Sprintf("it holds %d records, its header says %d", c.report.Folded, c.checkpoint.records)}
	case outcomes != c.checkpoint.outcomes:
		return &Damage{w.path, 56, fmt.Sprintf("it holds %d outcomes, its header says %d", outcomes, c.checkpoint.outcomes)}
	}
	return nil
}

// decode goes through the records of a good batch.
func (c *check) decode(path string, p place, off int64, b batch, add func(*Record) string) error {
	if b.strange != "" {
		return &Damage{path, off, b.strange}
	}
	e := Entry{Position: p.position(off), Time: b.time, InCheckpoint: p.header == checkpointHeader}
	where, why, err := b.each(func(r *Record) error {
		c.report.Records++
		if why := add(r); why != "" {
			c.report.Contradictions++
			if c.contradiction == nil {
				c.contradiction = &Contradiction{path, off, r.String(), why}
			}
		}
		if c.fn == nil {
			return nil
		}
		e.Record = r
		return c.fn(e)
	})
	switch {
	case err != nil:
		return err
	case why != "":
		return &Damage{path, off + batchHeader + where, why + ", under a good checksum"}
	}
	c.report.Batches++
	return nil
}

// readSegments reads each segment up to the start of the next one.
func (c *check) readSegments() error {
	for i := range c.segments {
		upTo := uint64(math.MaxUint64)
		if i+1 < len(c.segments) {
			upTo = c.segments[i+1].start
		}
		if err := c.readSegment(&c.segments[i], upTo); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) readSegment(s *segment, upTo uint64) error {
	w, err := openWindow(c.files, s.path)
	if err != nil {
		return err
	}
	defer w.close()
	p := place{log: s.log, number: s.number, start: s.start, header: segmentHeader}
	newest := upTo == math.MaxUint64
	off := int64(segmentHeader)
	for p.position(off) < upTo {
		b, good, err := batchAt(w, p, off)
		switch {
		case err != nil:
			return err
		case !good && newest:
			c.report.End = p.position(off)
			return c.readTail(s, w, p, off)
		case !good:
			return &Damage{w.path, off, fmt.Sprintf("its batches end at position %d, but the next segment begins at position %d", p.position(off), upTo)}
		case p.position(off+b.size) > upTo:
			return &Damage{w.path, off, fmt.Sprintf("a batch reaches over position %d, where the next segment begins", upTo)}
		}
		if b.synced > p.position(off) {
			return &Damage{w.path, off + 24, "a batch says of itself that it was durable before it was written"}
		}
		if err := c.decode(w.path, p, off, b, c.history.add); err != nil {
			return err
		}
		c.report.Synced = max(c.report.Synced, b.synced)
		off += b.size
		c.report.End = p.position(off)
	}
	return nil
}

// readTail looks at what stands behind the first batch of the newest segment that
// is not good, and says whether it may be cut.
func (c *check) readTail(s *segment, w *window, p place, end int64) error {
	for off := end; w.size-off >= batchHeader; {
		h, err := w.at(off, batchHeader)
		if err != nil {
			return err
		}
		if string(h[:4]) != batchMagic {
			off += 8
			continue
		}
		if LogID(h[44:54]) == p.log && le.Uint32(h[40:]) == p.number && le.Uint64(h[16:]) == p.position(off) {
			c.report.Tail = off + batchHeader - end // whole or torn, it was written here
		}
		b, good, err := batchAt(w, p, off)
		if err != nil {
			return err
		}
		if !good {
			off += 8
			continue
		}
		c.report.Synced = max(c.report.Synced, b.synced)
		c.report.Tail = off + b.size - end
		off += b.size
	}
	cut := c.clean != nil && c.closed == p.position(w.size)
	switch {
	case c.report.Synced > c.report.End:
		return &Damage{w.path, end, fmt.Sprintf("everything before position %d was durable, but what is good ends at position %d", c.report.Synced, c.report.End)}
	case w.size < s.size && !cut:
		return &Damage{w.path, w.size, fmt.Sprintf("it was made with %d bytes, and no clean close has cut it here", s.size)}
	}
	c.report.Clean = c.clean != nil && c.closed == c.report.End && c.report.Tail == 0
	return nil
}
