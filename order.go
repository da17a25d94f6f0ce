package dtc

import (
	"iter"
	"slices"

	"github.com/dtc-project/dtc/txlog"
)

// order keeps items in the order of their XIDs. Adding the newest and removing
// any touch no other item: a linked list would fetch the neighbours, which other
// processors have just written, for every transaction. Whoever uses it locks.
//
// Removed items leave holes, which go when the holes at the front are passed or
// when three quarters are holes; so it stays within a small multiple of what is
// in it, also if the oldest item stays for ever.
type order[T interface {
	comparable
	ref() txlog.Ref
	place() *uint64
}] struct {
	slots []slot[T]
	head  int    // the first slot that is in use
	base  uint64 // the place of slots[0]; an item's place is 0 while it is not here
	n     int
}

type slot[T any] struct {
	item T // zero: a hole
	ref  txlog.Ref
}

// len returns the number of items.
func (o *order[T]) len() int { return o.n }

// first returns the item of the lowest XID, or the zero item.
func (o *order[T]) first() (item T, ref txlog.Ref) {
	if o.n == 0 {
		return item, ref
	}
	s := &o.slots[o.head]
	return s.item, s.ref
}

// add puts in an item that is not in it.
func (o *order[T]) add(item T) {
	ref := item.ref()
	if o.n == 0 {
		o.slots, o.head, o.base = o.slots[:0], 0, 1
	}
	i := len(o.slots)
	for i > o.head && o.slots[i-1].ref.Compare(ref) > 0 {
		i-- // only a swept branch of an earlier incarnation gets here
	}
	if i == len(o.slots) {
		o.slots = append(o.slots, slot[T]{item, ref})
	} else {
		o.slots = slices.Insert(o.slots, i, slot[T]{item, ref})
		for j := i + 1; j < len(o.slots); j++ {
			o.settle(j)
		}
	}
	*item.place() = o.base + uint64(i)
	o.n++
}

// remove takes an item out and reports whether it was the first.
func (o *order[T]) remove(item T) (first bool) {
	i := int(*item.place() - o.base)
	*item.place() = 0
	var hole T
	o.slots[i].item = hole
	o.n--
	if first = i == o.head; first {
		for o.head < len(o.slots) && o.slots[o.head].item == hole {
			o.head++
		}
	}
	if used := len(o.slots); used > 1024 && o.n < used/4 {
		o.pack()
	}
	return first
}

// pack closes the holes.
func (o *order[T]) pack() {
	var hole T
	packed := make([]slot[T], 0, 2*o.n)
	for _, s := range o.slots[o.head:] {
		if s.item != hole {
			packed = append(packed, s)
		}
	}
	o.slots, o.head = packed, 0
	for i := range packed {
		o.settle(i)
	}
}

// settle tells the item in a slot where it is.
func (o *order[T]) settle(i int) {
	var hole T
	if item := o.slots[i].item; item != hole {
		*item.place() = o.base + uint64(i)
	}
}

// at returns the items of one place in the log. Nothing may be added or removed
// meanwhile.
func (o *order[T]) at(ref txlog.Ref) iter.Seq[T] {
	return func(yield func(T) bool) {
		var hole T
		used := o.slots[o.head:]
		i, _ := slices.BinarySearchFunc(used, ref, func(s slot[T], ref txlog.Ref) int { return s.ref.Compare(ref) })
		for ; i < len(used) && used[i].ref == ref; i++ {
			if used[i].item != hole && !yield(used[i].item) {
				return
			}
		}
	}
}

// all returns the items, oldest first. Nothing may be added or removed meanwhile.
func (o *order[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		var hole T
		for _, s := range o.slots[o.head:] {
			if s.item != hole && !yield(s.item) {
				return
			}
		}
	}
}
