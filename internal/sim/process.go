package sim

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// process is one process of the coordinator, from its start to its end.
type process struct {
	*life
	w       *world
	disk    *vfs.Mem
	c       *dtc.Coordinator // nil until it is open
	closing bool
	began   time.Duration
	syncs   atomic.Int64
	durable map[dtc.XID]bool
}

const logDir = "log"

// boot starts the coordinator on a disk.
func (w *world) boot(disk *vfs.Mem) {
	w.opened++
	p := &process{life: newLife(fmt.Sprintf("c%d", w.opened)), w: w, disk: disk, began: w.now(), durable: map[dtc.XID]bool{}}
	disk.SetHook(p.disked)
	w.proc = p
	if w.plan.faults&KillsRecovery != 0 && w.result.Counts.RecoveryKilled < w.plan.crashes && w.chance(0.5) {
		w.within(80, func() {
			if p == w.proc && p.c == nil {
				w.result.Counts.RecoveryKilled++
				w.kill(w.plan.faults&PowerLosses != 0 && w.chance(0.5))
			}
		})
	}
	w.goes(func() {
		if !w.gate(p.life, p.name+" starts", quick, nil) {
			return
		}
		c, err := p.open()
		if err != nil {
			w.post(p.life, p.name+" does not open: "+err.Error(), quick, func() { w.failedToOpen(err) })
			return
		}
		if !w.gate(p.life, p.name+" is open", instant, func() { w.ready(p, c) }) {
			_ = c.Close()
		}
	})
}

func (w *world) ready(p *process, c *dtc.Coordinator) {
	p.c = c
	w.know.reopened(c)
	w.event(OpReopened)
}

// event keeps something of the world in the history.
func (w *world) event(kind OpKind) {
	now := w.now()
	w.result.History = append(w.result.History, Op{Kind: kind, Client: -1, Call: now, Return: now})
}

func (p *process) open() (*dtc.Coordinator, error) {
	s := &p.w.plan
	log, err := wal.Open(logDir, &wal.Options{
		FS: p.disk, SegmentSize: s.segment, OutcomeLimit: s.limit, OutcomeRetention: s.retention,
	})
	if err != nil {
		return nil, err
	}
	cfg := &dtc.Config{
		ParticipantTiming: map[string]dtc.Timing{}, Timing: dtc.Timing{
			PrepareTimeout: s.prepareLimit, FinishBackoffCap: s.finishCap, Concurrency: s.concurrency,
		},
		CompletionWait: s.completionWait, TxLifetime: s.lifetime, SweepInterval: s.sweep,
		MaxTransactions: s.most, OutcomeLimit: s.limit, OutcomeRetention: s.retention,
		Logger: slog.New(slog.DiscardHandler), Trace: p.w.know.watch(p),
	}
	for i, party := range p.w.parties {
		cfg.Participants = append(cfg.Participants, party.seenBy(p))
		// Not two of them the same, so that timers set in one moment do not tie.
		cfg.ParticipantTiming[party.id] = dtc.Timing{
			PrepareAttempt: time.Second + time.Duration(i)*10_007,
			FinishAttempt:  10*time.Second + time.Duration(i)*100_003,
		}
	}
	c, err := dtc.OpenLog(log, cfg)
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	return c, nil
}

// failedToOpen tries again if the disk was at fault, and nothing else may be.
func (w *world) failedToOpen(err error) {
	if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
		w.violation("I12", "the log does not open: %v", err)
		return
	}
	w.kill(false)
}

// kill ends the coordinator's process, with the power or without, and starts
// another one later.
func (w *world) kill(power bool) {
	p := w.proc
	if p.dead.Load() {
		return
	}
	what := "  KILL of "
	w.result.Counts.Crashes++
	if power {
		what = "  POWER LOSS of "
		w.result.Counts.PowerLosses++
	}
	w.trace(what, p.name)
	p.disk.SetHook(nil)
	after := p.disk.Kill()
	if power {
		after = p.disk.Crash(rand.New(source{w}))
	}
	p.disk.SetHook(p.disked)
	w.die(p.life)
	w.result.Counts.Syncs += int(p.syncs.Load())
	w.event(map[bool]OpKind{false: OpKilled, true: OpPowerLost}[power])
	w.know.crashed(power)
	if p.c != nil {
		w.goes(func() { _ = p.c.Close() })
	}
	w.hangUp(p)
	w.inspect(after)
	w.faulty++
	w.post(nil, "the machine starts", span{time.Millisecond, 5 * time.Second}, func() {
		w.faulty--
		w.boot(after)
	})
}

// source lets a disk draw from the scheduler's numbers.
type source struct{ w *world }

func (s source) Int63() int64   { return s.w.rng.Int64() }
func (s source) Seed(int64)     {}
func (s source) Uint64() uint64 { return s.w.rng.Uint64() }

// inspect reads a log that nobody has open with two decoders.
func (w *world) inspect(disk *vfs.Mem) {
	res, err := compare.Log(logDir, disk.Kill())
	none := (*logcheck.NoLog)(nil)
	switch {
	case err != nil:
		w.violation("I12", "%v", err)
	case res.SecondRefused != nil && !errors.As(res.SecondRefused, &none):
		w.violation("I12", "the log is refused: %v", res.SecondRefused)
	}
	if res.Second.Tail > 0 {
		w.result.Counts.TornTails++
	}
}

// restart closes the coordinator in order and opens it again.
func (w *world) restart() {
	p := w.proc
	if p.dead.Load() || p.c == nil || p.closing {
		return
	}
	p.closing = true
	w.trace("  CLOSE of ", p.name)
	w.goes(func() {
		err := p.c.Close()
		w.post(p.life, p.name+" is closed", quick, func() { w.closed(p, err) })
	})
}

func (w *world) closed(p *process, err error) {
	if err != nil && p.c.Err() == nil {
		w.trace("  not in order: ", err.Error())
	}
	p.disk.SetHook(nil)
	after := p.disk.Kill()
	w.die(p.life)
	if err == nil && p.c.Err() == nil {
		w.event(OpClosed)
	} else {
		w.event(OpKilled)
	}
	w.know.crashed(false)
	w.hangUp(p)
	w.inspect(after)
	w.post(nil, "the process starts again", span{time.Millisecond, 2 * time.Second}, func() { w.boot(after) })
}

// tend is the one who looks after the coordinator: when its log has failed it is
// started again.
func (w *world) tend() {
	p := w.proc
	if p.c != nil && !p.closing && !p.dead.Load() && p.c.Err() != nil {
		if w.chance(0.5) {
			w.restart()
		} else {
			w.kill(false)
		}
	}
	w.post(nil, "somebody looks after it", span{500 * time.Millisecond, 4 * time.Second}, w.tend)
}

// disked is called around each operation of the disk.
func (p *process) disked(op, path string) error {
	if p.dead.Load() {
		return errDead
	}
	when, verb, _ := strings.Cut(op, " ")
	if when == "after" && verb == "sync" {
		p.syncs.Add(1)
	}
	if slices.Contains(reading, verb) || when == "after" && verb != "write" && verb != "sync" && verb != "rename" {
		return nil
	}
	delay := diskDelay
	if when == "before" {
		switch verb {
		case "sync", "syncdir", "preallocate":
			delay = syncDelay
			if p.w.plan.faults&DiskSlow != 0 && !p.w.calm {
				delay.to = 3 * time.Second
			}
		}
	}
	if !p.w.gate(p.life, p.name+" "+op+" "+filepath.Base(path), delay, nil) {
		return errDead
	}
	return nil
}

var reading = []string{"read", "size", "open", "readdir", "lock", "mkdir"}
