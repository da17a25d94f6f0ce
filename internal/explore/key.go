package explore

import "bytes"

// The machine's key is a head and then the same number of bytes for each branch.
// The head's reason for a rollback is for people; nothing depends on it.
const (
	headSize   = 7
	reasonByte = 2
	whoseByte  = 3
	ownSize    = 9
	liveFlag   = 1 << 5 // in the first byte of a key: the machine's follows
)

// key appends bytes that are equal for two worlds only if the same can happen in
// both for ever. Branches at participants of the same kind may change places.
func (w *world) key(r *Rules, dst []byte) []byte {
	var buf [headSize + maxBranches*16]byte
	machine := buf[:0]
	if w.tx != nil {
		machine = w.tx.AppendKey(machine)
		machine[reasonByte], machine[whoseByte] = 0, 0
	}
	dst = append(dst, flags(w.begun, w.replaying, w.later, w.poisoned, w.decided, w.tx != nil, w.cancelled),
		byte(w.forced), byte(w.synced), byte(w.told), w.crashes, w.colds, w.logFaults, w.unsynced)
	for _, r := range w.tail[:w.unsynced] {
		dst = append(dst, byte(r))
	}
	n := len(r.Kinds)
	each := 0
	if len(machine) > 0 {
		dst = append(dst, machine[:headSize]...)
		machine = machine[headSize:]
		each = len(machine) / n
	}
	from := len(dst)
	forget, over := r.reduces(oblivion), w.over()
	for i := range n {
		b := w.branch[i]
		if forget {
			if b.forget(w.tx != nil && !w.later, over); each > 0 {
				machine[i*each] = 0 // the branch's state, which is for people too
			}
		}
		dst = b.key(dst)
		dst = append(dst, machine[i*each:(i+1)*each]...)
	}
	if r.reduces(interchange) {
		sortBranches(r.Kinds, dst[from:], ownSize+each)
	}
	return dst
}

func (b *branch) key(dst []byte) []byte {
	return append(dst, byte(b.row), byte(b.sent), byte(b.answers), byte(b.prepare)<<4|byte(b.finish),
		byte(b.verb), b.attempts, byte(b.vote), byte(b.sweep)<<3|flags(b.orphan, b.hung, b.beside),
		flags(b.lowWater, b.cold, b.committed, b.readOnly, b.undone, b.asked, b.swept))
}

// sortBranches brings the pieces of equal kinds, size bytes each, into order.
func sortBranches(kinds []Kind, pieces []byte, size int) {
	var tmp [32]byte
	for i := 1; i < len(kinds); i++ {
		for j := i; j > 0 && kinds[j] == kinds[j-1]; j-- {
			a, b := pieces[(j-1)*size:j*size], pieces[j*size:(j+1)*size]
			if bytes.Compare(a, b) <= 0 {
				break
			}
			copy(tmp[:], a)
			copy(a, b)
			copy(b, tmp[:size])
		}
	}
}

func flags(on ...bool) (n byte) {
	for i, f := range on {
		if f {
			n |= 1 << i
		}
	}
	return n
}
