package wal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
)

const (
	checkpointMagic      = "dtc-ckp\n"
	checkpointHeaderSize = 72
)

type checkpointHeader struct {
	log      protocol.LogID
	number   uint32
	end      uint64
	size     int64
	count    uint64 // of records
	outcomes uint64
	time     int64
}

func (h *checkpointHeader) append(b []byte) []byte {
	at := len(b)
	b = append(b, checkpointMagic...)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, 0)
	b = append(b, h.log[:]...)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, h.number)
	b = le.AppendUint64(b, h.end)
	b = le.AppendUint64(b, uint64(h.size))
	b = le.AppendUint64(b, h.count)
	b = le.AppendUint64(b, h.outcomes)
	b = le.AppendUint64(b, uint64(h.time))
	le.PutUint32(b[at+12:], checksumWithout(b[at:], 12))
	return b
}

func parseCheckpointHeader(b []byte, file string, number uint32) (checkpointHeader, error) {
	corrupt := func(format string, args ...any) (checkpointHeader, error) {
		return checkpointHeader{}, &CorruptError{File: file, Why: fmt.Sprintf(format, args...)}
	}
	if len(b) < checkpointHeaderSize {
		return corrupt("the file is only %d bytes long", len(b))
	}
	if !bytes.HasPrefix(b, []byte(checkpointMagic)) {
		return corrupt("by its first bytes it is no checkpoint: it was overwritten")
	}
	if le.Uint32(b[8:]) > Version {
		return checkpointHeader{}, &VersionError{File: file, Found: le.Uint32(b[8:]), Supported: Version}
	}
	b = b[:checkpointHeaderSize]
	h := checkpointHeader{
		log:      protocol.LogID(b[16:26]),
		number:   le.Uint32(b[28:]),
		end:      le.Uint64(b[32:]),
		size:     int64(le.Uint64(b[40:])),
		count:    le.Uint64(b[48:]),
		outcomes: le.Uint64(b[56:]),
		time:     int64(le.Uint64(b[64:])),
	}
	switch {
	case le.Uint32(b[12:]) != checksumWithout(b, 12):
		return corrupt("the checksum of the checkpoint's header is wrong")
	case le.Uint32(b[8:]) == 0:
		return corrupt("format version %d never existed", le.Uint32(b[8:]))
	case h.number != number:
		return corrupt("the file's name says checkpoint %d, its header says %d: files were renamed or copied", number, h.number)
	}
	return h, nil
}

// checkpointFile is a checkpoint as it is read.
type checkpointFile struct {
	checkpointHeader
	path string
}

func openCheckpoint(fsys vfs.FS, path string, number uint32) (*checkpointFile, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	b := make([]byte, checkpointHeaderSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("wal: %w", err)
	}
	h, err := parseCheckpointHeader(b[:n], path, number)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	if size != h.size {
		return nil, &CorruptError{File: path, Why: fmt.Sprintf("the file is %d bytes long and was made %d", size, h.size)}
	}
	return &checkpointFile{h, path}, nil
}

// each calls fn for each record. An error of fn is returned as it is.
func (c *checkpointFile) each(fsys vfs.FS, fn func(txlog.Entry) error) error {
	return c.batches(fsys, func(h batchHeader, payload, _ []byte) error { return c.records(h, payload, fn) })
}

// records calls fn for each record of a batch.
func (c *checkpointFile) records(h batchHeader, payload []byte, fn func(txlog.Entry) error) error {
	var stop error
	e := txlog.Entry{Position: h.place.position, Time: time.Unix(0, h.time)}
	err := decodePayload(payload, h.records, decodeCheckpointed, func(r txlog.Record) error {
		e.Record = r
		stop = fn(e)
		return stop
	})
	if stop != nil || err == nil {
		return stop
	}
	return c.damaged(h.place.position, err.Error())
}

func (c *checkpointFile) damaged(at uint64, why string) error {
	return &CorruptError{File: c.path, Offset: checkpointHeaderSize + int64(at), Why: why}
}

// batches calls fn for each batch, with its payload and all of it, which are good
// until fn returns. The file is read in small pieces.
func (c *checkpointFile) batches(fsys vfs.FS, fn func(h batchHeader, payload, whole []byte) error) error {
	f, err := fsys.Open(c.path)
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.NewSectionReader(f, checkpointHeaderSize, c.size-checkpointHeaderSize), int(min(c.size, maxBatchSize)))
	at := place{c.log, c.number, 0}
	var buf []byte
	var records uint64
	for end := uint64(c.size - checkpointHeaderSize); at.position < end; {
		if buf, err = nextBatch(in, buf[:0]); err != nil {
			return fmt.Errorf("wal: read %s: %w", c.path, err)
		}
		h, payload, ok := parseBatch(buf, at)
		if !ok {
			return c.damaged(at.position, "the batch is not what was written")
		}
		if err := fn(h, payload, buf); err != nil {
			return err
		}
		records += uint64(h.records)
		at.position += uint64(len(buf))
	}
	if records != c.count {
		return c.damaged(0, fmt.Sprintf("there are %d records, and its header says %d", records, c.count))
	}
	return nil
}

// nextBatch appends the next batch to b, as long as its header says; or less, if
// there is no such batch.
func nextBatch(in *bufio.Reader, b []byte) ([]byte, error) {
	head, err := in.Peek(batchHeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return b, err
	}
	size := len(head)
	if size == batchHeaderSize {
		if length := le.Uint32(head[8:]); length > 0 && length <= maxPayload {
			size = padded(batchHeaderSize + int(length))
		}
	}
	b = slices.Grow(b[:0], size)[:size]
	n, err := io.ReadFull(in, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], err
}

// checkpointWriter writes the records of a checkpoint.
type checkpointWriter struct {
	f       vfs.File
	h       *checkpointHeader
	batch   []byte
	records uint32 // in the batch
	time    int64  // of the batch
	ended   bool   // it holds outcomes, and nothing else
	record  []byte // room to encode one
}

func (w *checkpointWriter) add(time int64, r txlog.Record) error {
	var err error
	if w.record, err = appendCheckpointed(w.record[:0], r); err != nil {
		return err
	}
	ended := r.Kind() == txlog.KindOutcome
	if w.records > 0 && (w.time != time || w.ended != ended || len(w.batch)+len(w.record) > maxBatchSize) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.records == 0 {
		w.batch = append(w.batch[:0], make([]byte, batchHeaderSize)...)
	}
	w.time, w.ended = time, ended
	w.batch = appendFramed(w.batch, w.record)
	w.records++
	if ended {
		w.h.outcomes++
	}
	return nil
}

// copy adds a batch of outcomes of an older checkpoint. It changes the batch.
func (w *checkpointWriter) copy(h batchHeader, whole []byte) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.h.outcomes += uint64(h.records)
	return w.write(whole, h.records)
}

func (w *checkpointWriter) flush() error {
	if w.records == 0 {
		return nil
	}
	w.batch = sealBatch(w.batch, w.records, place{}, 0, w.time)
	records := w.records
	w.records = 0
	return w.write(w.batch, records)
}

func (w *checkpointWriter) write(batch []byte, records uint32) error {
	stampBatch(batch, place{w.h.log, w.h.number, uint64(w.h.size - checkpointHeaderSize)})
	if err := writeAll(w.f, batch, w.h.size); err != nil {
		return err
	}
	w.h.size += int64(len(batch))
	w.h.count += uint64(records)
	return nil
}
