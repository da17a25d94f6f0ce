package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
)

// world is one run.
type world struct {
	plan   settings
	rng    *rand.Rand // of the scheduler; nobody else draws from it
	start  time.Time
	timer  *time.Timer
	keep   bool // the trace's lines
	sin    sin
	result *Result
	hash   uint64
	line   []byte

	mu         sync.Mutex
	fresh      []*event // have arrived and have no time yet
	spare      []*event
	notes      []string
	arrived    chan struct{}
	violated   string
	why        string
	waiting    events
	eventCount uint64

	live    sync.WaitGroup // goroutines of the world
	running atomic.Int64

	calm     bool // nothing goes wrong any more
	over     atomic.Bool
	triggers []*trigger
	faulty   int // things that are broken now
	messages int

	away      *party       // stays away for a while after everything else has healed
	executing atomic.Int64 // requests at participants

	operating bool // an operator is at work
	holding   bool // and one is at a hold

	proc    *process
	opened  int // processes so far
	parties []*party
	clients []*client
	know    *knowledge
}

func newWorld(seed uint64, s settings, keep bool) *world {
	w := &world{
		plan: s, rng: stream(seed, 4), start: time.Now(), timer: time.NewTimer(time.Hour), keep: keep,
		result: &Result{Seed: seed, Faults: s.faults, OutcomeLimit: s.limit, OutcomeRetention: s.retention}, hash: fnvOffset, arrived: make(chan struct{}, 1),
	}
	w.timer.Stop()
	w.know = newKnowledge(w)
	return w
}

// now is the virtual time since the start.
func (w *world) now() time.Duration { return time.Since(w.start) }

// span is a range of delays, both ends included.
type span struct{ from, to time.Duration }

// draw picks a delay, short ones more often than long ones, odd nanoseconds
// included: timers that are set after it hardly ever tie.
func (w *world) draw(s span) time.Duration {
	if s.to <= s.from {
		return s.from
	}
	width := s.to - s.from
	for range w.rng.IntN(4) {
		width /= 4
	}
	return s.from + time.Duration(w.rng.Int64N(int64(width)+1))
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// goes starts a goroutine of the world, which ends before the run does.
func (w *world) goes(f func()) {
	w.running.Add(1)
	w.live.Go(func() {
		defer w.running.Add(-1)
		f()
	})
}

// violation ends the run: what is named does not hold.
func (w *world) violation(name, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.violated == "" {
		w.violated, w.why = name, fmt.Sprintf(format, args...)
		w.notes = append(w.notes, "VIOLATED "+name+": "+w.why)
	}
}

func (w *world) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.violated != ""
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// trace adds a line.
func (w *world) trace(parts ...string) {
	b := strconv.AppendInt(w.line[:0], int64(w.now()/time.Microsecond), 10)
	for _, p := range parts {
		b = append(b, ' ')
		b = append(b, p...)
	}
	w.line = b
	h := w.hash
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	w.hash = h
	if w.keep {
		w.result.Trace = append(w.result.Trace, readable(b))
	}
}

// readable puts the point into the microseconds at the front of a line.
func readable(line []byte) string {
	n, rest := 0, line
	for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		n, rest = n*10+int(rest[0]-'0'), rest[1:]
	}
	return fmt.Sprintf("%4d.%06d%s", n/1_000_000, n%1_000_000, rest)
}

// short names a transaction in the trace.
func short(x dtc.XID) string {
	return strconv.FormatUint(uint64(x.Incarnation.Number), 10) + "." + strconv.FormatUint(x.Seq, 10)
}

// trigger is a fault that happens after a number of events.
type trigger struct {
	in   int // events from now
	fire func()
}

// within lets a fault happen somewhere within the next n events.
func (w *world) within(n int, fire func()) {
	w.triggers = append(w.triggers, &trigger{in: 1 + w.rng.IntN(n), fire: fire})
}

// happened counts an event, and lets those faults happen whose time has come.
func (w *world) happened() {
	for i := 0; i < len(w.triggers); i++ {
		t := w.triggers[i]
		if t.in--; t.in > 0 {
			continue
		}
		w.triggers = append(w.triggers[:i], w.triggers[i+1:]...)
		i--
		if !w.calm {
			// Whoever was let go by the last event goes on first, as far as it can: whether it
			// finds itself dead must not depend on who of the two is faster.
			synctest.Wait()
			t.fire()
		}
	}
}
