package logcheck

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	batchMagic  = "dtcB"
	batchHeader = 56
	maxPayload  = 1 << 20
)

// place is where a batch has to be in order to be good.
type place struct {
	log    LogID
	number uint32 // of the file
	start  uint64 // the position of the first byte behind the file's header
	header int64
}

func (p place) position(off int64) uint64 { return p.start + uint64(off-p.header) }

type batch struct {
	records uint32
	synced  uint64
	time    int64
	payload []byte // valid until the window moves
	size    int64  // with header and padding
	strange string // why it is not what any writer writes, under a good checksum
}

// batchAt reads the batch at an offset, and says whether it is good.
func batchAt(w *window, p place, off int64) (b batch, good bool, err error) {
	if w.size-off < batchHeader {
		return b, false, nil
	}
	h, err := w.at(off, batchHeader)
	if err != nil || string(h[:4]) != batchMagic {
		return b, false, err
	}
	length := int64(le.Uint32(h[8:]))
	b.size = batchHeader + (length+7)/8*8
	if length < 1 || length > maxPayload || w.size-off < b.size {
		return b, false, nil
	}
	all, err := w.at(off, int(b.size))
	if err != nil {
		return b, false, err
	}
	if crc32.Checksum(all[8:], castagnoli) != le.Uint32(all[4:]) || le.Uint64(all[16:]) != p.position(off) ||
		le.Uint32(all[40:]) != p.number || LogID(all[44:54]) != p.log {
		return b, false, nil
	}
	b.records, b.synced, b.time = le.Uint32(all[12:]), le.Uint64(all[24:]), int64(le.Uint64(all[32:]))
	b.payload = all[batchHeader : batchHeader+length]
	if le.Uint16(all[54:]) != 0 {
		b.strange = "the unused field of a batch is not zero"
	}
	for _, c := range all[batchHeader+length:] {
		if c != 0 {
			b.strange = "the padding of a batch is not zero"
		}
	}
	return b, true, nil
}

// each decodes the records of a payload one by one. where is the offset of the
// record that could not be decoded, in the payload.
func (b batch) each(fn func(*Record) error) (where int64, why string, err error) {
	rest, n := b.payload, uint32(0)
	for ; len(rest) > 0; n++ {
		where = int64(len(b.payload) - len(rest))
		length, used := uvarint(rest)
		switch {
		case used == 0:
			return where, "the length of a record is no number in its shortest form", nil
		case length == 0 || length > uint64(len(rest)-used):
			return where, "the length of a record does not fit", nil
		case n == b.records:
			return where, "there are more records than the batch says", nil
		}
		r, why := decode(rest[used : used+int(length)])
		if why != "" {
			return where, why, nil
		}
		if err := fn(r); err != nil {
			return where, "", err
		}
		rest = rest[used+int(length):]
	}
	if n != b.records {
		return int64(len(b.payload)), "there are fewer records than the batch says", nil
	}
	return 0, "", nil
}

// uvarint reads a number in its only spelling. used is 0 if there is none.
func uvarint(b []byte) (n uint64, used int) {
	n, used = binary.Uvarint(b)
	if used <= 0 || used > 1 && b[used-1] == 0 {
		return 0, 0
	}
	return n, used
}
