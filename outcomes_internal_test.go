package dtc

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/dtc-project/dtc/txlog"
)

func TestOutcomesForgetTheOldest(t *testing.T) {
	const limit = 3000
	o := newOutcomes(limit, time.Hour)
	began := time.Unix(1_000_000, 0)
	id := func(i int) [16]byte { return outcomeKey(TxID(fmt.Sprint("order-", i))) }
	for i := range 2 * limit {
		o.add(id(i), remembered{outcome: Committed, ref: txlog.Ref{Incarnation: 1, Seq: uint64(i)}, at: began.Add(time.Duration(i) * time.Millisecond).UnixNano()})
	}
	now := began.Add(time.Minute)
	for i := range 2 * limit {
		if r := lookFor(o, id(i), now); (r != nil) != (i >= limit) || r != nil && r.ref.Seq != uint64(i) {
			t.Fatalf("outcome %d: %+v", i, r)
		}
	}
	if o.len() != limit || !o.since(now).Equal(began.Add((limit-1)*time.Millisecond)) {
		t.Errorf("%d remembered, since %v", o.len(), o.since(now))
	}
	if lookFor(o, id(2*limit-1), now.Add(2*time.Hour)) != nil {
		t.Error("an outcome is remembered for longer than it should")
	}
}

func TestOutcomeKeysDiffer(t *testing.T) {
	seen := map[[16]byte]TxID{}
	for n := range 40 {
		for _, fill := range []string{"a", "\x01", "\x0f", "é"} {
			id := TxID(strings.Repeat(fill, n+1))
			if other, ok := seen[outcomeKey(id)]; ok {
				t.Errorf("%q and %q have one key", id, other)
			}
			seen[outcomeKey(id)] = id
		}
	}
}

// TestOutcomeIndexIsThatOfAMap compares it with a map over random histories in
// which keys come back, are replaced and go.
func TestOutcomeIndexIsThatOfAMap(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	x, want := newOutcomeIndex(), map[[16]byte]int{}
	var ring [][16]byte
	at := func(i int) *[16]byte { return &ring[i] }
	removed := 0
	for step := range 200_000 {
		key := outcomeKey(TxID(fmt.Sprint("order-", rng.Intn(20_000))))
		if step%100_000 > 80_000 || rng.Intn(3) == 0 {
			slot, place, ok := x.find(&key, x.hash(&key), at)
			if old, had := want[key]; had != ok || ok && place != old {
				t.Fatalf("step %d: found %v at %d, want %v at %d", step, ok, place, had, old)
			}
			if ok {
				x.remove(slot)
				delete(want, key)
				removed++
			}
		} else {
			ring = append(ring, key)
			x.set(&key, x.hash(&key), len(ring)-1, at)
			want[key] = len(ring) - 1
		}
		if x.n != len(want) {
			t.Fatalf("step %d: %d keys, want %d", step, x.n, len(want))
		}
	}
	for key, place := range want {
		if _, got, ok := x.find(&key, x.hash(&key), at); !ok || got != place {
			t.Fatalf("found %v at %d, want it at %d", ok, got, place)
		}
	}
	if removed < 10_000 {
		t.Errorf("only %d were removed", removed)
	}
}

func lookFor(o *outcomes, key [16]byte, now time.Time) *remembered {
	return o.look(&key, o.byKey.hash(&key), now)
}

// clockSet returns a time as it is if the wall clock was set meanwhile. Only the clock itself
// makes such a time, so this writes into it.
func clockSet(t time.Time, by time.Duration) time.Time {
	inside := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	inside.wall += uint64(by/time.Second) << 30
	return t
}

// TestSetClock: an outcome is remembered for as long as was promised, also if the clock
// was wrong when the machine started.
func TestSetClock(t *testing.T) {
	began := time.Now()
	later := began.Add(time.Minute)
	if d := clockSet(later, 2*time.Hour); d.Sub(began) != time.Minute || d.UnixNano()-began.UnixNano() != int64(2*time.Hour+time.Minute) {
		t.Fatalf("this is no clock that was set: %v and %v", began, d)
	}
	for _, step := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour} {
		o := newOutcomes(10, time.Hour)
		o.add(outcomeKey("before"), remembered{at: o.steady(began).UnixNano()})
		o.add(outcomeKey("after"), remembered{at: o.steady(clockSet(later, step)).UnixNano()})
		for _, id := range []TxID{"before", "after"} {
			if lookFor(o, outcomeKey(id), clockSet(began.Add(59*time.Minute), step)) == nil {
				t.Errorf("the clock was set by %v, and what ended %s is forgotten", step, id)
			}
			if lookFor(o, outcomeKey(id), clockSet(began.Add(62*time.Minute), step)) != nil {
				t.Errorf("the clock was set by %v, and what ended %s is remembered for too long", step, id)
			}
		}
		if since := o.since(clockSet(began.Add(30*time.Minute), step)); !since.IsZero() {
			t.Errorf("the clock was set by %v, and all is remembered since %v only", step, since)
		}
	}
}

// TestSinceAfterSetClock: what ended after the time that is shown is remembered, for those
// who read the clock as it was set.
func TestSinceAfterSetClock(t *testing.T) {
	for _, step := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour} {
		o := newOutcomes(10, time.Hour)
		ended, now := clockSet(o.opened.Add(time.Minute), step), clockSet(o.opened.Add(63*time.Minute), step)
		o.add(outcomeKey("id"), remembered{at: o.steady(ended).UnixNano()})
		if lookFor(o, outcomeKey("id"), now) != nil {
			t.Fatal("it is remembered for too long")
		}
		if since := o.since(now); since.UnixNano() <= ended.UnixNano() {
			t.Errorf("the clock was set by %v: what ended at %v is forgotten, and all is said to be remembered since %v", step, ended, since)
		}
	}
}
