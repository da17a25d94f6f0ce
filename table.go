package dtc

import (
	"iter"

	"github.com/dtc-project/dtc/txlog"
)

// liveTable holds the transactions that are not finished everywhere, by id and in
// the order of their XIDs. It is guarded by c.mu.
//
// It is the only place from which a goroutine learns of a transaction that is not
// its own. Whoever takes one out may hold it for as long as it likes: so [find],
// [at] and [all] mark what they hand out, and what is marked is never used again for
// another transaction. See memory.go.
//
// A transaction whose participants never block is usually over before anything
// else could want to know. It begins as fresh: low water of every participant
// waits for it, and no participant's list has to be touched. When it has to wait
// it is settled: from then on it stands in the lists of its own participants. So
// a fresh one never holds low water back for longer than a write of the log.
type liveTable struct {
	order order[*txn]
	fresh order[*txn]

	// By id: a table with linear probing. Go's map would hash the id, which is
	// longer than its key, for each of the three times a transaction is looked
	// up, put in and taken out.
	slots []liveSlot // a power of two, at most half of them in use
	n     int
}

type liveSlot struct {
	hash uint32
	t    *txn // nil: empty
}

func newLiveTable() liveTable { return liveTable{slots: make([]liveSlot, 1024)} }

// len returns the number of transactions.
func (l *liveTable) len() int { return l.order.len() + l.fresh.len() }

// find returns the transaction of an id, or nil. Hash is that of the key.
func (l *liveTable) find(id TxID, hash uint32) *txn {
	t := l.slots[l.slot(id, hash)].t
	if t != nil {
		t.known = true
	}
	return t
}

// all returns the transactions, oldest first. Nothing may be added or removed
// meanwhile.
func (l *liveTable) all() iter.Seq[*txn] {
	return func(yield func(*txn) bool) {
		settled, fresh := l.order.slots[l.order.head:], l.fresh.slots[l.fresh.head:]
		for len(settled) > 0 || len(fresh) > 0 {
			from := &settled
			if len(settled) == 0 || len(fresh) > 0 && fresh[0].ref.Compare(settled[0].ref) < 0 {
				from = &fresh
			}
			t := (*from)[0].item
			*from = (*from)[1:]
			if t == nil {
				continue // a hole
			}
			t.known = true
			if !yield(t) {
				return
			}
		}
	}
}

// at returns the transactions of one place in the log: usually one, but branches that
// the sweep found are transactions each. Nothing may be added or removed meanwhile.
func (l *liveTable) at(ref txlog.Ref) iter.Seq[*txn] {
	return func(yield func(*txn) bool) {
		for _, o := range []*order[*txn]{&l.order, &l.fresh} {
			for t := range o.at(ref) {
				t.known = true
				if !yield(t) {
					return
				}
			}
		}
	}
}

// settle makes a fresh transaction one like all others.
func (l *liveTable) settle(t *txn) {
	l.fresh.remove(t)
	t.fresh = false
	l.order.add(t)
}

// slot returns where an id stands, or the empty slot where it belongs.
func (l *liveTable) slot(id TxID, hash uint32) int {
	mask := len(l.slots) - 1
	i := int(hash) & mask
	for {
		s := &l.slots[i]
		if s.t == nil || s.hash == hash && s.t.id == id {
			return i
		}
		i = (i + 1) & mask
	}
}

// add puts in a transaction. One of the same id, which only an old log can hold,
// is from now on found by its XID alone; a branch that the sweep found has no id.
func (l *liveTable) add(t *txn) {
	if t.fresh {
		l.fresh.add(t)
	} else {
		l.order.add(t)
	}
	if t.id == "" {
		return
	}
	s := &l.slots[l.slot(t.id, t.hash)]
	if s.t == nil {
		l.n++
	}
	*s = liveSlot{t.hash, t}
	if l.n > len(l.slots)/2 {
		l.grow()
	}
}

// remove takes out a transaction, and reports whether its id stood for it.
func (l *liveTable) remove(t *txn) bool {
	if t.fresh {
		l.fresh.remove(t)
	} else {
		l.order.remove(t)
	}
	return l.unname(t)
}

// unname has a transaction found by its XID alone from now on, and reports whether its id
// stood for it.
func (l *liveTable) unname(t *txn) bool {
	mask := len(l.slots) - 1
	hole := l.slot(t.id, t.hash)
	if t.id == "" || l.slots[hole].t != t {
		return false
	}
	// What probing would not reach any more moves up.
	for i := (hole + 1) & mask; l.slots[i].t != nil; i = (i + 1) & mask {
		home := int(l.slots[i].hash) & mask
		if (i-home)&mask >= (i-hole)&mask {
			l.slots[hole], hole = l.slots[i], i
		}
	}
	l.slots[hole] = liveSlot{}
	l.n--
	return true
}

func (l *liveTable) grow() {
	old := l.slots
	l.slots = make([]liveSlot, 2*len(old))
	mask := len(l.slots) - 1
	for _, s := range old {
		if s.t == nil {
			continue
		}
		i := int(s.hash) & mask
		for l.slots[i].t != nil {
			i = (i + 1) & mask
		}
		l.slots[i] = s
	}
}
