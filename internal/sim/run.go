package sim

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/sim/simdb"
	"github.com/dtc-project/dtc/internal/vfs"
)

// Options change a run. The zero value is the run that the seed chooses.
type Options struct {
	// Without takes classes of faults out of what the seed chooses.
	Without Faults
	// Trace keeps the lines of the trace; otherwise only their hash is kept.
	Trace bool

	sin sin
}

// Run runs one seed in a bubble of its own and never fails t by itself. It changes
// settings of the whole process for the time being, and must not run beside other
// tests.
func Run(t *testing.T, seed uint64, opts Options) *Result {
	defer Still()()
	var b [32]byte
	src := stream(seed, 5)
	for i := range b {
		b[i] = byte(src.Uint32())
	}
	defer chance.Seed(b)()
	var result *Result
	watchdog := time.AfterFunc(stuckAfter, func() {
		stacks := make([]byte, 1<<20)
		panic(fmt.Sprintf("seed %d is stuck: a goroutine waits for something that is no channel\n%s",
			seed, stacks[:runtime.Stack(stacks, true)]))
	})
	defer watchdog.Stop()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, choose(seed, Plan(seed)&^opts.Without), opts.Trace)
		defer chance.SetTurn(func() { w.gate(nil, "a writer takes what there is", instant, nil) })()
		w.sin = opts.sin
		w.simulate(seed)
		result = w.result
	})
	return result
}

// stuckAfter is how long a run may take, by the clock on the wall: it takes
// milliseconds. A goroutine of the bubble that waits for a mutex, which somebody holds
// who waits at the gate, would stop it for ever.
const stuckAfter = 30 * time.Second

var still atomic.Int32

// Still makes the process run one goroutine at a time and collects no garbage
// during a run, so that a seed gives the same run again, until it is ended. A test
// that has many runs calls it once, for speed.
func Still() (end func()) {
	if still.Add(1) > 1 {
		if runs := collected.Add(1); runs%collectEvery == 0 {
			runtime.GC()
		}
		return func() { still.Add(-1) }
	}
	procs, percent := runtime.GOMAXPROCS(1), debug.SetGCPercent(-1)
	return func() {
		still.Add(-1)
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(procs)
	}
}

var collected atomic.Int64

const collectEvery = 32

// simulate is the run.
func (w *world) simulate(seed uint64) {
	for i, kind := range w.plan.parties {
		id := "p" + strconv.Itoa(i)
		switch kind {
		case guardParty:
			w.parties = append(w.parties, newGuardParty(w, id, 1+w.rng.IntN(6)))
		case localParty:
			w.parties = append(w.parties, newLocalParty(w, id))
		case oneParty:
			w.parties = append(w.parties, newOneParty(w, id))
		case memoryParty, plainParty, inlineParty, inlinePlainParty, inlineOneParty:
			w.parties = append(w.parties, newMemoryParty(w, id, kind))
		}
	}
	w.plant()
	w.hire(stream(seed, 3), stream(seed, 8))
	for _, name := range w.plan.faults.Names() {
		w.trace("fault ", name)
	}
	w.arm()
	w.boot(vfs.NewMem())
	for _, c := range w.clients {
		w.goes(c.work)
	}
	w.post(nil, "somebody looks after it", span{0, time.Second}, w.tend)
	w.post(nil, "a participant wonders", span{0, time.Second}, w.ask)
	if w.run(faultyTime, w.worked) || !w.broken() {
		w.heal()
		w.settle()
	}
	w.end()
}

const (
	always     = time.Duration(1) << 60
	faultyTime = 2 * time.Minute
	healTime   = 10 * time.Minute
)

func (w *world) worked() bool {
	for _, c := range w.clients {
		if !c.done {
			return false
		}
	}
	return true
}

// arm makes the faults that happen after a number of events.
func (w *world) arm() {
	s, f := &w.plan, w.plan.faults
	again := func(on Faults, n, most int, fire func()) {
		if f&on == 0 {
			return
		}
		for range 1 + w.rng.IntN(most) {
			w.within(n, fire)
		}
	}
	crash := func(power bool) func() { return func() { w.kill(power) } }
	again(Kills, 700, max(1, s.crashes), crash(false))
	again(PowerLosses, 700, max(1, s.crashes), crash(true))
	again(Closings, 900, 2, w.restart)
	again(Partitions, 600, 4, func() { w.cut(w.anybody()) })
	again(PartyCrashes, 600, 4, func() { w.fall(w.anybody()) })
	again(SyncFails, 700, 1, func() { w.proc.disk.FailSync(1 + w.rng.IntN(4)) })
	again(Pauses, 700, 2, w.pause)
	again(Registry, 1000, 2, w.reregister)
	again(Operators, 800, 2, func() { w.operate(5) })
	again(DiskFull, 700, 1, w.fill)
	if f&OnePhases != 0 {
		again(Operators, 800, 2, func() { w.hold(5) })
	}
}

func (w *world) anybody() *party { return w.parties[w.rng.IntN(len(w.parties))] }

// pause stops the coordinator's process: nothing of it goes on for a while.
func (w *world) pause() {
	p := w.proc
	p.until = w.now() + w.draw(span{time.Millisecond, 30 * time.Second})
	w.trace("  PAUSE of ", p.name, " for ", (p.until - w.now()).String())
}

// fill leaves little room on the disk, for a while.
func (w *world) fill() {
	p := w.proc
	w.trace("  DISK FULL")
	p.disk.LimitSpace(w.rng.Int64N(64 << 10))
	w.post(p.life, "there is room on the disk", span{10 * time.Millisecond, 10 * time.Second}, func() { p.disk.LimitSpace(1 << 40) })
}

// heal ends everything that goes wrong.
func (w *world) heal() {
	w.trace("  EVERYTHING HEALS")
	w.calm = true
	p := w.proc
	p.until = 0
	p.disk.LimitSpace(1 << 40)
	p.disk.FailSync(0)
	for _, p := range w.parties {
		w.rise(p)
		p.cutTo, p.cutFrom = 0, 0
	}
	if p := w.anybody(); !p.inline && !p.local && w.rng.IntN(4) == 0 {
		w.trace("  but for ", p.id, ", which stays away")
		p.cutTo, p.cutFrom = always, always
		w.away = p
	}
}

// end lets every goroutine of the world come home.
func (w *world) end() {
	w.over.Store(true)
	w.calm = true
	limit := w.now() + time.Hour
	w.die(w.proc.life)
	w.result.Counts.Syncs += int(w.proc.syncs.Load())
	if c := w.proc.c; c != nil {
		w.goes(func() { _ = c.Close() })
	}
	w.hangUp(w.proc)
	for _, p := range w.parties {
		w.die(p.life)
		if p.books != nil {
			simdb.Kill(p.books.pool)
			w.goes(p.books.close)
		}
	}
	for w.running.Load() > 0 && w.now() < limit {
		w.step(limit)
	}
	w.tellOnePhase()
	w.result.Violated, w.result.Why = w.violated, w.why
	w.result.Hash = w.hash
	w.result.Counts.Virtual = w.now()
	w.result.Counts.Events = int(w.eventCount)
	w.timer.Stop()
}
