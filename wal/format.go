package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
)

// Version is the format that this package writes, and the newest it reads.
const Version = 2

const (
	segmentMagic = "dtc-wal\n"
	batchMagic   = "dtcB"
	cleanMagic   = "dtc-end\n"

	segmentHeaderSize = 88
	batchHeaderSize   = 56
	cleanSize         = 32

	maxPayload = 1 << 20
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// checksumWithout is the checksum of b as if the four bytes at off were zero.
func checksumWithout(b []byte, off int) uint32 {
	crc := crc32.Update(0, castagnoli, b[:off])
	crc = crc32.Update(crc, castagnoli, make([]byte, 4))
	return crc32.Update(crc, castagnoli, b[off+4:])
}

// padded rounds up to the alignment of batches.
func padded(n int) int { return (n + 7) &^ 7 }

type segmentHeader struct {
	log    protocol.LogID
	number uint32
	start  uint64
	synced uint64
	begin  uint64
	time   int64
	size   int64 // of the file when it was made
	file   vfs.Identity
}

func (h *segmentHeader) append(b []byte) []byte {
	at := len(b)
	b = append(b, segmentMagic...)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, 0)
	b = append(b, h.log[:]...)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, h.number)
	b = le.AppendUint64(b, h.start)
	b = le.AppendUint64(b, h.synced)
	b = le.AppendUint64(b, h.begin)
	b = le.AppendUint64(b, uint64(h.time))
	b = le.AppendUint64(b, uint64(h.size))
	b = le.AppendUint64(b, h.file.Inode)
	b = le.AppendUint64(b, uint64(h.file.Birth))
	le.PutUint32(b[at+12:], checksumWithout(b[at:], 12))
	return b
}

// parseSegmentHeader reads the first bytes of the segment in file, whose name
// says number.
func parseSegmentHeader(b []byte, file string, number uint32) (segmentHeader, error) {
	corrupt := func(format string, args ...any) (segmentHeader, error) {
		return segmentHeader{}, &CorruptError{File: file, Why: fmt.Sprintf(format, args...)}
	}
	if len(b) < len(segmentMagic) && bytes.HasPrefix([]byte(segmentMagic), b) {
		return corrupt("the file is only %d bytes long", len(b))
	}
	if !bytes.HasPrefix(b, []byte(segmentMagic)) {
		if len(b) >= segmentHeaderSize {
			ours := append([]byte(segmentMagic), b[len(segmentMagic):segmentHeaderSize]...)
			if le.Uint32(ours[12:]) == checksumWithout(ours, 12) {
				return corrupt("its first bytes were changed")
			}
		}
		return segmentHeader{}, &NotLogError{File: file}
	}
	if len(b) >= 12 && le.Uint32(b[8:]) > Version {
		return segmentHeader{}, &VersionError{File: file, Found: le.Uint32(b[8:]), Supported: Version}
	}
	if len(b) < segmentHeaderSize {
		return corrupt("the file is only %d bytes long", len(b))
	}
	b = b[:segmentHeaderSize]
	h := segmentHeader{
		log:    protocol.LogID(b[16:26]),
		number: le.Uint32(b[28:]),
		start:  le.Uint64(b[32:]),
		synced: le.Uint64(b[40:]),
		begin:  le.Uint64(b[48:]),
		time:   int64(le.Uint64(b[56:])),
		size:   int64(le.Uint64(b[64:])),
		file:   vfs.Identity{Inode: le.Uint64(b[72:]), Birth: int64(le.Uint64(b[80:]))},
	}
	switch {
	case le.Uint32(b[12:]) != checksumWithout(b, 12):
		return corrupt("the checksum of the segment's header is wrong")
	case le.Uint32(b[8:]) == 0:
		return corrupt("format version %d never existed", le.Uint32(b[8:]))
	case h.number != number:
		return corrupt("the file's name says segment %d, its header says %d: files were renamed or copied", number, h.number)
	case h.synced < h.start:
		return corrupt("the header contradicts itself")
	}
	return h, nil
}

type batchHeader struct {
	length  int // of the payload
	records uint32
	place   place
	synced  uint64
	time    int64
}

// place is what makes a batch belong where it stands.
type place struct {
	log      protocol.LogID
	segment  uint32
	position uint64
}

// size is what a batch takes in the file.
func (h *batchHeader) size() int { return padded(batchHeaderSize + h.length) }

// sealBatch fills in the header of the batch b, whose payload is in place, and
// returns it with its padding.
func sealBatch(b []byte, records uint32, at place, synced uint64, time int64) []byte {
	length := len(b) - batchHeaderSize
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	copy(b, batchMagic)
	le.PutUint32(b[8:], uint32(length))
	le.PutUint32(b[12:], records)
	le.PutUint64(b[24:], synced)
	le.PutUint64(b[32:], uint64(time))
	stampBatch(b, at)
	return b
}

// stampBatch gives a complete batch its place.
func stampBatch(b []byte, at place) {
	le.PutUint64(b[16:], at.position)
	le.PutUint32(b[40:], at.segment)
	copy(b[44:54], at.log[:])
	le.PutUint16(b[54:], 0)
	le.PutUint32(b[4:], checksum(b[8:]))
}

// parseBatch reads the batch at the front of b if there is a good one that
// belongs at the place.
func parseBatch(b []byte, at place) (h batchHeader, payload []byte, ok bool) {
	if len(b) < batchHeaderSize || string(b[:4]) != batchMagic {
		return h, nil, false
	}
	h = batchHeader{
		length:  int(le.Uint32(b[8:])),
		records: le.Uint32(b[12:]),
		place:   placeOf(b),
		synced:  le.Uint64(b[24:]),
		time:    int64(le.Uint64(b[32:])),
	}
	if h.place != at || h.length <= 0 || h.length > maxPayload || h.size() > len(b) ||
		le.Uint32(b[4:]) != checksum(b[8:h.size()]) && !canary.On(canary.NoChecksum) {
		return h, nil, false
	}
	return h, b[batchHeaderSize : batchHeaderSize+h.length], true
}

// placeOf returns where a batch, good or not, says that it belongs.
func placeOf(b []byte) place {
	return place{protocol.LogID(b[44:54]), le.Uint32(b[40:]), le.Uint64(b[16:])}
}

func appendClean(b []byte, log protocol.LogID, position uint64) []byte {
	at := len(b)
	b = append(b, cleanMagic...)
	b = le.AppendUint32(b, 0)
	b = append(b, log[:]...)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, position)
	le.PutUint32(b[at+8:], checksumWithout(b[at:], 8))
	return b
}

func parseClean(b []byte) (log protocol.LogID, position uint64, ok bool) {
	if len(b) != cleanSize || string(b[:8]) != cleanMagic || le.Uint32(b[8:]) != checksumWithout(b, 8) {
		return log, 0, false
	}
	return protocol.LogID(b[12:22]), le.Uint64(b[24:]), true
}
