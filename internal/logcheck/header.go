package logcheck

import (
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	letters    = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

const (
	segmentMagic    = "dtc-wal\n"
	checkpointMagic = "dtc-ckp\n"
	cleanMagic      = "dtc-end\n"

	segmentHeader    = 88
	checkpointHeader = 72
	cleanSize        = 32
)

// LogID is the name of a log.
type LogID [10]byte

// String returns the id as people see it: 16 letters and digits.
func (id LogID) String() string { return letters.EncodeToString(id[:]) }

type segment struct {
	log     LogID
	number  uint32
	start   uint64 // position of the first batch
	synced  uint64
	begin   uint64
	created int64
	size    int64 // to which the file was preallocated
	inode   uint64
	birth   int64
	path    string
}

type checkpoint struct {
	log      LogID
	number   uint32
	end      uint64
	size     uint64
	records  uint64
	outcomes uint64
	time     int64
	path     string
}

// sumAround is the checksum of b with the four bytes at i taken for zeros.
func sumAround(b []byte, i int) uint32 {
	sum := crc32.Update(0, castagnoli, b[:i])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, b[i+4:])
}

// checkHeader checks what the headers of segments and checkpoints have in common.
// foreign says that neither the magic nor the rest of the header is a log's.
func checkHeader(path, magic string, b []byte, length int, number uint32) (foreign bool, err error) {
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		// A header that is right in all but its magic is ours, overwritten.
		if len(b) < length {
			return true, &NotLog{path}
		}
		as := append([]byte(magic), b[len(magic):length]...)
		if sumAround(as, 12) != le.Uint32(as[12:]) {
			return true, &NotLog{path}
		}
		return false, &Damage{path, 0, "the first bytes are overwritten"}
	}
	// The version comes before the checksum: a later version may have a header of
	// another length.
	if len(b) >= 12 {
		if v := le.Uint32(b[8:]); v > Version {
			return false, &NewerVersion{path, v}
		}
	}
	switch {
	case len(b) < length:
		err = &Damage{path, int64(len(b)), "the file ends within its header"}
	case sumAround(b[:length], 12) != le.Uint32(b[12:]):
		err = &Damage{path, 0, "the header's checksum is wrong"}
	case le.Uint32(b[8:]) == 0:
		err = &Damage{path, 8, "there never was such a version"}
	case le.Uint16(b[26:]) != 0:
		err = &Damage{path, 26, "the header's unused field is not zero"}
	case le.Uint32(b[28:]) != number:
		err = &Damage{path, 28, "the header has another number than the file's name"}
	}
	return false, err
}

func parseSegment(path string, b []byte, number uint32) (s segment, foreign bool, err error) {
	s.path = path
	if foreign, err = checkHeader(path, segmentMagic, b, segmentHeader, number); err != nil {
		return s, foreign, err
	}
	copy(s.log[:], b[16:])
	s.number = le.Uint32(b[28:])
	s.start, s.synced, s.begin = le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:])
	s.created, s.size = int64(le.Uint64(b[56:])), int64(le.Uint64(b[64:]))
	s.inode, s.birth = le.Uint64(b[72:]), int64(le.Uint64(b[80:]))
	if s.synced < s.start {
		return s, false, &Damage{path, 40, "a segment is made only when everything before it is durable, and this one says otherwise"}
	}
	return s, false, nil
}

func parseCheckpoint(path string, b []byte, number uint32, size int64) (c checkpoint, foreign bool, err error) {
	c.path = path
	if foreign, err = checkHeader(path, checkpointMagic, b, checkpointHeader, number); err != nil {
		return c, foreign, err
	}
	copy(c.log[:], b[16:])
	c.number = le.Uint32(b[28:])
	c.end, c.size = le.Uint64(b[32:]), le.Uint64(b[40:])
	c.records, c.outcomes = le.Uint64(b[48:]), le.Uint64(b[56:])
	c.time = int64(le.Uint64(b[64:]))
	if c.size != uint64(size) {
		return c, false, &Damage{path, min(size, int64(min(c.size, 1<<62))), "the file has another size than its header says"}
	}
	return c, false, nil
}

func parseClean(path string, b []byte) (log LogID, position uint64, err error) {
	switch {
	case len(b) != cleanSize:
		err = &Damage{path, int64(min(len(b), cleanSize)), "the file does not have its 32 bytes"}
	case string(b[:8]) != cleanMagic:
		err = &Damage{path, 0, "the magic is wrong"}
	case sumAround(b, 8) != le.Uint32(b[8:]):
		err = &Damage{path, 8, "the checksum is wrong"}
	case le.Uint16(b[22:]) != 0:
		err = &Damage{path, 22, "the unused field is not zero"}
	}
	if err == nil {
		copy(log[:], b[12:])
		position = le.Uint64(b[24:])
	}
	return log, position, err
}
