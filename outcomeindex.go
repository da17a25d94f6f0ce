package dtc

import "hash/maphash"

// outcomeIndex finds an outcome's place in the ring by its key. With a million
// of them every look-up of a new id misses the processor's caches; here that is
// one miss, where Go's map has three, and 16 bytes or less for each entry.
//
// It is a table with linear probing. A slot holds the upper half of the key's
// hash above the place plus one; zero is an empty slot. The key itself stands in
// the ring.
type outcomeIndex struct {
	seed  maphash.Seed // drawn at random: nobody can choose ids that collide
	slots []uint64     // a power of two, at most half of them in use
	shift int          // 32 minus the logarithm of their number
	n     int
}

func newOutcomeIndex() outcomeIndex {
	x := outcomeIndex{seed: maphash.MakeSeed()}
	x.resize(10)
	return x
}

// hash returns the hash of a key. It may be called at any time.
func (x *outcomeIndex) hash(key *[16]byte) uint32 {
	return uint32(maphash.Bytes(x.seed, key[:]) >> 32)
}

// find returns the slot of a key with that hash, or the empty one where it belongs. at returns
// the key that stands at a place in the ring.
func (x *outcomeIndex) find(key *[16]byte, hash uint32, at func(int) *[16]byte) (slot int, place int, ok bool) {
	i := int(hash >> x.shift)
	for ; x.slots[i] != 0; i = (i + 1) & (len(x.slots) - 1) {
		if uint32(x.slots[i]>>32) == hash {
			if place = int(uint32(x.slots[i])) - 1; *at(place) == *key {
				return i, place, true
			}
		}
	}
	return i, 0, false
}

// set lets a key stand for a place, whatever it stood for.
func (x *outcomeIndex) set(key *[16]byte, hash uint32, place int, at func(int) *[16]byte) {
	i, _, ok := x.find(key, hash, at)
	x.slots[i] = uint64(hash)<<32 | uint64(uint32(place+1))
	if ok {
		return
	}
	if x.n++; x.n > len(x.slots)/2 {
		x.resize(33 - x.shift)
	}
}

// remove drops the key in a slot that find returned, and moves up those behind
// it that probing would not reach any more.
func (x *outcomeIndex) remove(hole int) {
	mask := len(x.slots) - 1
	for i := (hole + 1) & mask; x.slots[i] != 0; i = (i + 1) & mask {
		home := int(uint32(x.slots[i]>>32) >> x.shift)
		if (i-home)&mask >= (i-hole)&mask {
			x.slots[hole], hole = x.slots[i], i
		}
	}
	x.slots[hole] = 0
	x.n--
}

func (x *outcomeIndex) resize(log int) {
	old := x.slots
	x.slots, x.shift = make([]uint64, 1<<log), 32-log
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := int(uint32(s>>32) >> x.shift)
		for x.slots[i] != 0 {
			i = (i + 1) & (len(x.slots) - 1)
		}
		x.slots[i] = s
	}
}
