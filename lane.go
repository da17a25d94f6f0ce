package dtc

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
)

// lane is everything the coordinator does with one participant: it bounds how
// many calls run at a time, keeps commits and rollbacks ahead of new work, and
// lets branches wait for a participant that does not answer without a goroutine
// or a timer each.
//
// A participant is down after two calls without an answer and none in between.
// An error that does not mean "no answer" is an answer: it concerns its own branch
// alone, which waits out its own back-off.
// While it is down one commit or rollback at a time is tried as a probe, with
// back-off; when anything answers, all that wait are called at once.
//
// Lock order: a transaction's mutex may be held while lane.mu is taken, never
// the other way round.
type lane struct {
	c      *Coordinator
	id     string
	timing atomic.Pointer[Timing]

	// p is nil until a participant of that id is registered: branches found in
	// the log wait for it.
	p atomic.Pointer[registration]

	_ apart // what stands above is read by everybody and hardly ever written

	// What bounds low water beside c.lowNext, as a sequence of the current
	// incarnation (the largest if nothing does) or as a whole XID; maintained
	// under c.mu, read without it.
	lowSeq atomic.Uint64
	lowOld atomic.Pointer[XID]

	_ apart

	unfinished order[*branchRun] // branches here. Guarded by c.mu
	swept      bool              // see protocol.LowWaterView. Guarded by c.mu
	orphans    int               // live transactions that a sweep found here. Guarded by c.mu
	left       int               // branches that the last sweep left alone. Guarded by c.mu

	_ apart

	mu        sync.Mutex
	stopped   bool
	running   int        // goroutines that call this participant
	preparing int        // those of them in a prepare
	finishing int        // and those in a commit or rollback
	idle      []chan job // goroutines that wait for a call, see spare; each has room for one
	finishQ   fifo
	prepareQ  fifo
	waiting   waitHeap // retries that wait for their time
	timer     *time.Timer
	timerAt   time.Time
	failures  int  // calls without an answer since the last answer
	probing   bool // while down: the one commit or rollback that is tried
	probeAt   time.Time
	downSince time.Time
	lastError string
	heard     bool        // it has answered since it was registered first
	troubled  atomic.Bool // failures > 0, to be read without l.mu
}

// probeCap bounds the wait between two probes of a participant that is down. It is one
// call, however many wait, and all of them learn from it that the participant is back:
// so it may come more often than the repetitions of a single branch.
const probeCap = 5 * time.Second

// spare is how many goroutines a lane keeps for the next calls. A new one has a small stack,
// which grows within the participant's driver, and that costs more than to start it.
const spare = 8

// apart keeps fields that many processors read out of the cache lines of those
// that one of them writes; processors fetch lines of 64 bytes in pairs.
type apart [128]byte

// registration is a participant with its abilities looked up once.
type registration struct {
	Participant
	lister Lister    // nil if it has not got the ability
	once   OnePhaser // nil if it has not got the ability
	inline bool      // it never blocks
	gone   bool      // it was taken out: nothing is begun, and no phase two called

	endSweep context.CancelFunc // nil if it is not swept. Guarded by c.mu
}

// registered reports whether branches may begin at the participant.
func (l *lane) registered() bool {
	r := l.p.Load()
	return r != nil && !r.gone
}

// mayList reports whether the participant has the ability at all. While it does
// not use it yet, it may hold branches of earlier incarnations that no log knows.
func (r *registration) mayList() bool { return r != nil && r.lister != nil }

func (r *registration) listing() bool {
	return r != nil && !r.gone && r.lister != nil && r.lister.Listing()
}

// inline reports whether the participant's calls never wait.
func (l *lane) inline() bool {
	r := l.p.Load()
	return r != nil && r.inline && !r.gone
}

type job struct {
	br   *branchRun
	verb protocol.Verb
}

// down reports whether only probes may go out. The caller holds l.mu.
func (l *lane) down() bool { return l.failures >= 2 }

// submit queues a call and has a goroutine make it if one may run.
func (l *lane) submit(br *branchRun, verb protocol.Verb) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	if verb.Begins() {
		l.prepareQ.push(job{br, verb})
	} else {
		l.finishQ.push(job{br, verb})
		if l.down() && !l.probing {
			l.schedule(l.probeAt)
		}
	}
	l.start()
}

// start has goroutines make calls while there is work that may run. The caller holds
// l.mu.
func (l *lane) start() {
	if l.p.Load() == nil {
		return
	}
	for l.running < l.timing.Load().Concurrency {
		j, ok := l.next()
		if !ok {
			return
		}
		l.running++
		if n := len(l.idle); n > 0 {
			l.idle[n-1] <- j
			l.idle = l.idle[:n-1]
			continue
		}
		l.c.wg.Add(1)
		go l.work(j)
	}
}

// renew forgets how the participant was that another one has taken the place of, and
// calls what waits for it. A probe that is still out is the former one's business: it
// may never return.
func (l *lane) renew() {
	l.mu.Lock()
	l.failures, l.probing, l.lastError = 0, false, ""
	l.troubled.Store(false)
	due := l.waiting
	l.waiting = nil
	l.start()
	l.mu.Unlock()
	wake(due)
}

// withdraw takes a commit or rollback that has not left yet out of the queue, and
// reports whether there was one.
func (l *lane) withdraw(br *branchRun) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.finishQ.head; i < len(l.finishQ.jobs); i++ {
		if l.finishQ.jobs[i].br == br {
			l.finishQ.jobs = slices.Delete(l.finishQ.jobs, i, i+1)
			return true
		}
	}
	return false
}

// probeNow lets the next commit or rollback go out without waiting for the
// back-off of a participant that is down.
func (l *lane) probeNow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probeAt = time.Time{}
	l.start()
}

// next takes the next job that may run. Commits and rollbacks come first. A quarter
// of the concurrency is theirs alone, so that prepares that hang hold up nothing
// that was begun, and a quarter is that of prepares alone: a participant whose
// commits hang is not down as long as it votes. The caller holds l.mu.
func (l *lane) next() (job, bool) {
	if l.stopped {
		return job{}, false
	}
	most := max(1, l.timing.Load().Concurrency*3/4)
	if l.finishQ.len() > 0 && l.finishing < most && l.registered() {
		probe := l.down()
		if !probe || !l.probing && !l.c.now().Before(l.probeAt) {
			l.probing = l.probing || probe
			l.finishing++
			return l.finishQ.pop(), true
		}
	}
	if l.prepareQ.len() > 0 && l.preparing < most {
		l.preparing++
		return l.prepareQ.pop(), true
	}
	return job{}, false
}

// work makes calls, and waits for more if there are not enough who do.
func (l *lane) work(j job) {
	defer l.c.wg.Done()
	var next chan job
	for {
		l.c.call(j)
		l.mu.Lock()
		if j.verb.Begins() {
			l.preparing--
		} else {
			l.finishing--
		}
		var ok bool
		if j, ok = l.next(); ok {
			l.mu.Unlock()
			continue
		}
		l.running--
		if l.stopped || len(l.idle) >= spare || !l.registered() {
			l.mu.Unlock()
			return
		}
		if next == nil {
			next = make(chan job, 1)
		}
		l.idle = append(l.idle, next)
		l.mu.Unlock()
		if j, ok = <-next; !ok {
			return
		}
	}
}

// answered notes whether a call got an answer. After an answer nobody waits for
// this participant any longer.
func (l *lane) answered(verb protocol.Verb, err error) {
	l.mu.Lock()
	if !verb.Begins() {
		l.probing = false
	}
	if err != nil {
		l.failures++
		if l.failures == 2 {
			l.downSince = l.c.now()
			failpoint.Hit(failpoint.LaneDown)
			defer l.c.cfg.Logger.Warn("a participant does not answer: its transactions wait, and it is probed",
				"participant", l.id, "error", err.Error()) // after the lock is let go
		}
		l.troubled.Store(true)
		l.lastError = err.Error()
		if l.down() && (!verb.Begins() || l.failures == 2) {
			// Prepares keep trying on their own; they do not put off the probe.
			l.nextProbe()
		}
		l.mu.Unlock()
		return
	}
	wasDown := l.down()
	l.failures, l.heard = 0, true
	l.troubled.Store(false)
	if !wasDown {
		l.mu.Unlock()
		return
	}
	failpoint.Hit(failpoint.LaneUp)
	due, since := l.waiting, l.downSince
	l.waiting = nil
	l.start()
	l.mu.Unlock()
	l.c.cfg.Logger.Info("a participant answers again", "participant", l.id,
		"waiting", len(due), "after", l.c.now().Sub(since).String())
	wake(due)
}

// uncalled notes that what was to be the probe has called nobody: another one comes when
// the next probe would have.
func (l *lane) uncalled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.probing {
		l.probing = false
		l.nextProbe()
	}
}

// nextProbe says when the participant is probed again. The caller holds l.mu.
func (l *lane) nextProbe() {
	timing := l.timing.Load()
	l.probeAt = l.c.now().Add(backoff(l.failures, timing.Backoff, min(timing.FinishBackoffCap, probeCap), jitter))
	if l.finishQ.len() > 0 || len(l.waiting) > 0 {
		l.schedule(l.probeAt)
	}
}

func wake(due waitHeap) {
	for _, w := range due {
		w.br.tx.handle(protocol.RetryDue{Branch: w.br.index})
	}
}

// retry lets a branch wait for its next attempt and returns when that is, unless
// the participant answers earlier. While it is down its commits and rollbacks
// wait for the next probe.
func (l *lane) retry(br *branchRun, verb protocol.Verb, failures int) time.Time {
	timing := l.timing.Load()
	limit := timing.FinishBackoffCap
	if verb.Begins() {
		limit = timing.PrepareBackoffCap
	}
	now := l.c.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	due := l.probeAt
	if verb.Begins() || !l.down() || due.Before(now) {
		due = now.Add(backoff(failures, timing.Backoff, limit, jitter))
	}
	if !l.stopped {
		heap.Push(&l.waiting, waiter{due, br})
		l.schedule(due)
	}
	return due
}

// schedule makes the lane's one timer fire no later than at. The caller holds
// l.mu.
func (l *lane) schedule(at time.Time) {
	if l.stopped || !l.timerAt.IsZero() && !at.Before(l.timerAt) {
		return
	}
	l.timerAt = at
	d := chance.Apart(max(0, at.Sub(l.c.now())))
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.tick)
	} else {
		l.timer.Reset(d)
	}
}

// tick serves the retries whose time has come: all of them, or while the
// participant is down those of phase one and a single probe.
func (l *lane) tick() {
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return
	}
	l.c.wg.Add(1)
	defer l.c.wg.Done()
	now := l.c.now()
	l.timerAt = time.Time{}
	var due waitHeap
	for len(l.waiting) > 0 && !l.waiting[0].at.After(now) {
		due = append(due, heap.Pop(&l.waiting).(waiter))
	}
	if len(l.waiting) > 0 {
		l.schedule(l.waiting[0].at)
	}
	if l.down() && l.finishQ.len() > 0 && !l.probing && now.Before(l.probeAt) {
		l.schedule(l.probeAt)
	}
	l.start()
	l.mu.Unlock()
	wake(due)
}

// stop ends the lane: no call starts any more.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.finishQ, l.prepareQ, l.waiting = fifo{}, fifo{}, nil
	l.endIdle()
}

// dismiss ends the goroutines that wait for calls of a participant that was taken out.
func (l *lane) dismiss() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endIdle()
}

// endIdle ends the goroutines that wait for a call. The caller holds l.mu.
func (l *lane) endIdle() {
	for _, next := range l.idle {
		close(next)
	}
	l.idle = nil
}

// fifo is a queue of jobs.
type fifo struct {
	jobs []job
	head int
}

func (q *fifo) len() int   { return len(q.jobs) - q.head }
func (q *fifo) push(j job) { q.jobs = append(q.jobs, j) }

func (q *fifo) pop() job {
	j := q.jobs[q.head]
	q.jobs[q.head] = job{}
	q.head++
	switch {
	case q.head == len(q.jobs):
		q.jobs, q.head = q.jobs[:0], 0
	case q.head >= 1024 && q.head*2 >= len(q.jobs):
		q.jobs = append(q.jobs[:0], q.jobs[q.head:]...)
		q.head = 0
	}
	return j
}

type waiter struct {
	at time.Time
	br *branchRun
}

// waitHeap orders retries by their time.
type waitHeap []waiter

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h waitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waitHeap) Push(x any)        { *h = append(*h, x.(waiter)) }
func (h *waitHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h = old[:len(old)-1]
	return w
}
