package sim

import (
	"container/heap"
	"slices"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"
)

// life is what can die while things are under way for it: a process of the
// coordinator, or of a participant. What waits for a dead one is let go at once.
type life struct {
	name  string
	dead  atomic.Bool
	died  chan struct{}
	until time.Duration // it is stopped until then; see [world.pause]
}

func newLife(name string) *life { return &life{name: name, died: make(chan struct{})} }

// event is something that waits for its turn. Which turn that is follows from the
// seed and from the label alone: not from the order in which events arrived.
type event struct {
	label string
	whose *life // nil: nobody's, it cannot die
	delay span
	do    func()        // what happens, on the scheduler's goroutine
	gate  chan struct{} // closed then; nil if nobody waits
	at    time.Duration
	n     uint64 // among those of one moment
	left  bool   // nobody waits any more; guarded by world.mu
}

// leave says that whoever waited for the event does so no more.
func (w *world) leave(e *event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.left = true
}

// events is a heap, the next one first.
type events []*event

func (h events) Len() int      { return len(h) }
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(*event)) }

func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}

func (h *events) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// arrive hands an event to the scheduler.
func (w *world) arrive(e *event) {
	w.mu.Lock()
	w.fresh = append(w.fresh, e)
	w.mu.Unlock()
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// gate blocks the goroutine until the scheduler lets it go on, and reports whether
// the life it belongs to goes on too. do, which may be nil, happens in that moment.
func (w *world) gate(l *life, label string, delay span, do func()) bool {
	e := &event{label: label, whose: l, delay: delay, do: do, gate: make(chan struct{})}
	w.arrive(e)
	<-e.gate
	return l == nil || !l.dead.Load()
}

// post lets something happen later. Nobody waits for it.
func (w *world) post(l *life, label string, delay span, do func()) {
	w.arrive(&event{label: label, whose: l, delay: delay, do: do})
}

// note is a line of the trace from within a cascade.
func (w *world) note(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, line)
}

// absorb gives each event that has arrived its time, in the order of their labels.
func (w *world) absorb() {
	w.mu.Lock()
	fresh, notes := w.fresh, w.notes
	w.fresh, w.notes = w.spare[:0], nil
	w.mu.Unlock()
	if len(notes) > 0 {
		slices.Sort(notes)
		for _, line := range notes {
			w.trace("  ", line)
		}
	}
	if len(fresh) > 1 {
		slices.SortStableFunc(fresh, func(a, b *event) int { return strings.Compare(a.label, b.label) })
	}
	now := w.now()
	for i, e := range fresh {
		e.at = now
		if e.whose == nil || !e.whose.dead.Load() {
			e.at += w.draw(e.delay)
		}
		w.eventCount++
		e.n = w.eventCount
		heap.Push(&w.waiting, e)
		fresh[i] = nil
	}
	w.spare = fresh
}

// step lets one event happen, or time pass until something may, up to the limit.
func (w *world) step(limit time.Duration) {
	synctest.Wait()
	select {
	case <-w.arrived:
	default:
	}
	w.absorb()
	now := w.now()
	if len(w.waiting) == 0 || w.waiting[0].at > now {
		next := limit
		if len(w.waiting) > 0 {
			next = min(next, w.waiting[0].at)
		}
		if next <= now {
			return
		}
		w.timer.Reset(next - now)
		select {
		case <-w.timer.C:
		case <-w.arrived:
		}
		w.timer.Stop()
		return
	}
	e := heap.Pop(&w.waiting).(*event)
	if l := e.whose; l != nil && !l.dead.Load() && l.until > now {
		e.at = l.until + time.Duration(w.rng.Int64N(int64(time.Millisecond)))
		heap.Push(&w.waiting, e)
		return
	}
	w.mu.Lock()
	left := e.left
	w.mu.Unlock()
	if left {
		return
	}
	gone := e.whose != nil && e.whose.dead.Load()
	if !gone {
		w.trace(e.label)
		if e.do != nil {
			e.do()
		}
	} else {
		w.trace("gone: ", e.label)
	}
	if e.gate != nil {
		close(e.gate)
	}
	if !gone {
		w.happened()
	}
}

// run lets the world go on until done, or until the limit; it reports whether it
// was done.
func (w *world) run(limit time.Duration, done func() bool) bool {
	for !w.broken() {
		if done() {
			return true
		}
		if w.now() >= limit {
			return false
		}
		w.step(limit)
	}
	return false
}

// die ends a life: everything that waits for it is let go, one after the other.
func (w *world) die(l *life) {
	if l.dead.Swap(true) {
		return
	}
	close(l.died)
	now := w.now()
	for _, e := range w.waiting {
		if e.whose == l {
			e.at = now
		}
	}
	heap.Init(&w.waiting)
}

// sort puts the events in order after their times were changed.
func (w *world) sort() { heap.Init(&w.waiting) }
