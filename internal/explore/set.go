package explore

import (
	"encoding/binary"
	"math/bits"
)

// sum is a 128-bit hash of a key. Its lowest two bits are not used: they hold the
// marks of a set.
type sum struct{ hi, lo uint64 }

const (
	seen   = 1 << iota // the state was reached
	healed             // left in peace, it comes to rest as it must
	marks  = seen | healed
)

// hash returns the sum of a key.
func hash(key []byte) sum {
	h := sum{0x9e3779b97f4a7c15 ^ uint64(len(key)), 0xd1b54a32d192ed03}
	for len(key) >= 8 {
		h.mix(binary.LittleEndian.Uint64(key))
		key = key[8:]
	}
	var rest [8]byte
	copy(rest[:], key)
	h.mix(binary.LittleEndian.Uint64(rest[:]))
	h.mix(0xa0761d6478bd642f)
	h.lo &^= marks
	return h
}

func (h *sum) mix(x uint64) {
	hi, lo := bits.Mul64(h.hi^x, 0xe7037ed1a0b428db)
	a := hi ^ lo
	hi, lo = bits.Mul64(h.lo^bits.RotateLeft64(x, 32), 0x8ebc6af09c88c6e3)
	h.hi, h.lo = h.hi+bits.RotateLeft64(hi^lo, 17), bits.RotateLeft64(h.lo, 29)^a+x*0x589965cc75374cc3
	h.hi ^= a
}

// set is a set of sums with marks.
type set struct {
	slots []sum
	used  int
}

func newSet() set { return set{slots: make([]sum, 1024)} }

// mark sets marks on a sum and reports which it had before.
func (s *set) mark(h sum, m uint64) (had uint64) {
	if s.used*4 >= len(s.slots)*3 {
		s.grow()
	}
	slot := s.find(h)
	had = slot.lo & marks
	if had == 0 {
		s.used++
	}
	*slot = sum{h.hi, h.lo | had | m}
	return had
}

// isHealed reports whether a sum has the mark healed.
func (s *set) isHealed(h sum) bool { return s.find(h).lo&healed != 0 }

// find returns the slot that holds h, or the one to put it into.
func (s *set) find(h sum) *sum {
	mask := uint64(len(s.slots) - 1)
	for i := h.hi & mask; ; i = (i + 1) & mask {
		slot := &s.slots[i]
		if slot.lo&marks == 0 || slot.hi == h.hi && slot.lo&^marks == h.lo {
			return slot
		}
	}
}

func (s *set) grow() {
	old := s.slots
	s.slots = make([]sum, 2*len(old))
	for _, h := range old {
		if h.lo&marks != 0 {
			*s.find(sum{h.hi, h.lo &^ marks}) = h
		}
	}
}
