package dtc

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/dtc-project/dtc/txlog"
)

type ordered struct {
	at   uint64
	name txlog.Ref
}

func (o *ordered) ref() txlog.Ref { return o.name }
func (o *ordered) place() *uint64 { return &o.at }

// TestOrderIsThatOfASortedList compares it with a sorted slice over random
// histories: items come mostly in order and leave in any order, and one stays.
func TestOrderIsThatOfASortedList(t *testing.T) {
	packs := 0
	for seed := range int64(20) {
		rng := rand.New(rand.NewSource(seed))
		var o order[*ordered]
		var want []*ordered
		next := uint64(1 << 20)
		for range 20_000 {
			if len(want) == 0 || rng.Intn(100) < 50 {
				next++
				item := &ordered{name: txlog.Ref{Incarnation: 2, Seq: next}}
				if rng.Intn(500) == 0 {
					item.name = txlog.Ref{Incarnation: uint32(1 + rng.Intn(2)), Seq: next - uint64(rng.Intn(1<<20))}
					if slices.ContainsFunc(want, func(w *ordered) bool { return w.name == item.name }) {
						continue
					}
				}
				o.add(item)
				at, _ := slices.BinarySearchFunc(want, item, func(a, b *ordered) int { return a.name.Compare(b.name) })
				want = slices.Insert(want, at, item)
			} else {
				i := rng.Intn(len(want))
				if rng.Intn(2) == 0 && len(want) > 1 {
					i = min(1, len(want)-1) // the oldest stays
				}
				slots := len(o.slots)
				if first := o.remove(want[i]); first != (i == 0) {
					t.Fatalf("seed %d: removing item %d says first=%v", seed, i, first)
				}
				if len(o.slots) < slots {
					packs++
				}
				if want[i].at != 0 {
					t.Fatalf("seed %d: a removed item has place %d", seed, want[i].at)
				}
				want = slices.Delete(want, i, i+1)
			}
			first, ref := o.first()
			if o.len() != len(want) || len(want) > 0 && (first != want[0] || ref != want[0].name) {
				t.Fatalf("seed %d: %d items and first %v, want %d", seed, o.len(), ref, len(want))
			}
		}
		if got := slices.Collect(o.all()); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %d items in the wrong order", seed, len(got))
		}
	}
	if packs == 0 {
		t.Error("the holes were never closed")
	}
}

// TestOrderStaysSmall keeps the oldest item for ever.
func TestOrderStaysSmall(t *testing.T) {
	var o order[*ordered]
	o.add(&ordered{name: txlog.Ref{Incarnation: 1, Seq: 1}})
	for i := range uint64(1_000_000) {
		item := &ordered{name: txlog.Ref{Incarnation: 1, Seq: 2 + i}}
		o.add(item)
		o.remove(item)
	}
	if n := len(o.slots); n > 2048 || o.len() != 1 {
		t.Errorf("%d slots for %d items", n, o.len())
	}
}
