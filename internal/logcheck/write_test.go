package logcheck_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"testing"

	"github.com/dtc-project/dtc/internal/logcheck"
)

// What follows writes the files of a log by hand, byte by byte as the comment of
// package wal says: no decoder's own idea of the format is in it.

var (
	le      = binary.LittleEndian
	table   = crc32.MakeTable(crc32.Castagnoli)
	logID   = [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	at      = int64(1700000000000000000)
	finger  = string(make([]byte, 16))
	segSize = int64(1024)
)

// disk is a directory in memory.
type disk map[string][]byte

type memory struct {
	io.ReaderAt
	size int64
}

func (m memory) Size() (int64, error) { return m.size, nil }
func (m memory) Close() error         { return nil }

func (d disk) ReadDir(string) ([]string, error) {
	if d == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Sorted(maps.Keys(d)), nil
}

func (d disk) Open(name string) (logcheck.File, error) {
	b, ok := d[path.Base(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memory{readerAt(b), int64(len(b))}, nil
}

type readerAt []byte

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(r)) {
		return 0, io.EOF
	}
	n := copy(p, r[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d disk) check() (lines []string, r logcheck.Report, err error) {
	r, err = logcheck.Check("dir", d, func(e logcheck.Entry) error {
		lines = append(lines, e.Record.String())
		return nil
	})
	return lines, r, err
}

func u(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

func u32(n uint32) string { return string(le.AppendUint32(nil, n)) }

func i64(n int64) string { return string(le.AppendUint64(nil, uint64(n))) }

func text(s string) string { return u(uint64(len(s))) + s }

func ref(incarnation, seq uint64) string { return u(incarnation) + u(seq) }

// The records that the tests use.
func incarnation(n uint64, through uint64) string { return "\x01" + u(n) + u32(0xabcd) + u(through) }

func block(n uint64, through uint64) string { return "\x02" + u(n) + u(through) }

func prepare(inc, seq uint64, tx string, branches ...string) string {
	b := "\x03" + ref(inc, seq) + text(tx) + finger + u(uint64(len(branches)))
	for _, p := range branches {
		if plain := p[0] == '*'; plain {
			b += "\x01" + text(p[1:])
		} else {
			b += "\x00" + text(p)
		}
	}
	return b
}

func onePhase(inc, seq uint64, tx, participant string) string {
	return "\x0d" + prepare(inc, seq, tx, participant)[1:]
}

func commit(inc, seq uint64, votes string) string {
	return "\x04" + ref(inc, seq) + u(uint64(len(votes))) + votes
}

func abort(inc, seq uint64, code byte, participant, message string) string {
	return "\x05" + ref(inc, seq) + string([]byte{code}) + text(participant) + text(message)
}

func end(inc, seq uint64, outcome byte) string {
	return "\x06" + ref(inc, seq) + string([]byte{outcome})
}

func resolution(inc, seq uint64, participant string, outcome byte, reason string) string {
	return "\x07" + ref(inc, seq) + text(participant) + string([]byte{outcome}) + text(reason)
}

func logged(inc uint64, runs ...uint64) string {
	b := "\x08" + u(inc) + u(uint64(len(runs)/2))
	for _, n := range runs {
		b += u(n)
	}
	return b
}

func horizon(t int64) string { return "\x09" + i64(t) }

func outcome(inc, seq uint64, how, code byte) string {
	return "\x0a" + ref(inc, seq) + finger + finger + string([]byte{how, code}) + i64(at)
}

func hold(n uint64, reason string) string { return "\x0b" + u(n) + text(reason) }

func release(reason string) string { return "\x0c" + text(reason) }

// file is a segment or a checkpoint that is being written.
type file struct {
	b      []byte
	header int
	number uint32
	start  uint64
	synced uint64
}

func (f *file) position() uint64 { return f.start + uint64(len(f.b)-f.header) }

// batch adds a batch of records.
func (f *file) batch(records ...string) *file {
	payload := ""
	for _, r := range records {
		payload += text(r)
	}
	return f.raw(uint32(len(records)), payload)
}

func (f *file) raw(records uint32, payload string) *file {
	b := make([]byte, 56, 56+len(payload)+8)
	copy(b, "dtcB")
	le.PutUint32(b[8:], uint32(len(payload)))
	le.PutUint32(b[12:], records)
	le.PutUint64(b[16:], f.position())
	le.PutUint64(b[24:], f.synced)
	le.PutUint64(b[32:], uint64(at))
	le.PutUint32(b[40:], f.number)
	copy(b[44:], logID[:])
	b = append(b, payload...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	le.PutUint32(b[4:], crc32.Checksum(b[8:], table))
	f.b = append(f.b, b...)
	return f
}

// durable lets the batches that follow say that all before them is durable.
func (f *file) durable() *file { f.synced = f.position(); return f }

// full pads the file to its size.
func (f *file) full() []byte { return append(f.b, make([]byte, segSize-int64(len(f.b)))...) }

func segment(number uint32, start, synced, begin uint64) *file {
	b := make([]byte, 88)
	copy(b, "dtc-wal\n")
	b[8] = 1
	copy(b[16:], logID[:])
	le.PutUint32(b[28:], number)
	le.PutUint64(b[32:], start)
	le.PutUint64(b[40:], synced)
	le.PutUint64(b[48:], begin)
	le.PutUint64(b[56:], uint64(at))
	le.PutUint64(b[64:], uint64(segSize))
	le.PutUint64(b[72:], 4711)
	le.PutUint64(b[80:], uint64(at))
	le.PutUint32(b[12:], crc32.Checksum(b, table))
	return &file{b: b, header: 88, number: number, start: start, synced: start}
}

// checkpoint finishes a file of batches that was begun with fold.
func (f *file) checkpoint(end uint64, records, outcomes uint64) []byte {
	b := f.b
	le.PutUint64(b[32:], end)
	le.PutUint64(b[40:], uint64(len(b)))
	le.PutUint64(b[48:], records)
	le.PutUint64(b[56:], outcomes)
	le.PutUint64(b[64:], uint64(at))
	copy(b[12:16], "\x00\x00\x00\x00")
	le.PutUint32(b[12:], crc32.Checksum(b[:72], table))
	return b
}

func fold(number uint32) *file {
	b := make([]byte, 72)
	copy(b, "dtc-ckp\n")
	b[8] = 1
	copy(b[16:], logID[:])
	le.PutUint32(b[28:], number)
	return &file{b: b, header: 72, number: number}
}

func clean(position uint64) []byte {
	b := make([]byte, 32)
	copy(b, "dtc-end\n")
	copy(b[12:], logID[:])
	le.PutUint64(b[24:], position)
	le.PutUint32(b[8:], crc32.Checksum(b, table))
	return b
}

func name(n int, ext string) string { return fmt.Sprintf("%08d.%s", n, ext) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// resum gives the first n bytes of b the checksum of what they hold.
func resum(b []byte, n, sum int) []byte {
	copy(b[sum:sum+4], "\x00\x00\x00\x00")
	le.PutUint32(b[sum:], crc32.Checksum(b[:n], table))
	return b
}

// reseal gives the batch at the front of b the checksum of what it holds.
func reseal(b []byte) {
	n := 56 + (int(le.Uint32(b[8:]))+7)/8*8
	le.PutUint32(b[4:], crc32.Checksum(b[8:n], table))
}
