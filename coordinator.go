package dtc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc/internal/brief"
	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/refs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// Coordinator runs transactions over its participants. All methods may be called
// concurrently.
type Coordinator struct {
	cfg    Config
	log    txlog.Log
	roomer txlog.Roomer    // the log, if it can run out of room
	ctx    context.Context // ends when phase two must stop, at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the coordinator

	self     protocol.Incarnation
	logError atomic.Pointer[error]

	lanes sync.Map // participant id → *lane

	_     apart
	stats counters

	_       apart
	lowNext atomic.Uint64 // see raise. Written under c.mu, read without it

	_        apart
	mu       brief.Mutex        // the live table
	owners   sync.WaitGroup     // callers inside Execute and Run
	history  []protocol.Opening // of the log, this opening last
	closing  bool
	live     liveTable
	begun    int64 // transactions, since Open
	ended    endings
	growing  *lane  // no participant: the list of transactions that grow
	next     uint64 // the sequence of the next transaction
	through  uint64 // sequences up to here may be used
	reserved *sync.Cond
	awaiting bool // a block is being reserved
	past     *outcomes
	recent   recent

	// logged are the transactions of earlier incarnations for which the log has
	// ever held a prepare record. Written by replay only.
	logged refs.Set

	resolving sync.Mutex // one operator at a time
	asking    sync.Mutex // one question at a time that needs all outcomes

	hold      atomic.Pointer[holding] // written under c.mu
	holds     sync.Mutex              // held while a hold or a release is forced
	due       int                     // holds that count and are not in the log yet. Guarded by c.mu
	refusedAt time.Time               // when it was last logged that there is no room. Guarded by c.mu
	parked    []*txn                  // what waits for a release. Guarded by c.mu

	closed   chan struct{} // closed when Close is done
	closeErr error
}

type counters struct {
	committed, rolledBack, hazards atomic.Int64
}

// seqBlock is how many sequences are reserved by one forced record.
const seqBlock = 1 << 20

// Open opens the decision log in a directory, which it creates if needed, and
// begins to finish what an earlier process left unfinished. New transactions can
// run at once.
//
// Errors can be told apart with errors.As: [*wal.InUseError] (another process
// has the log open), [*wal.CorruptError] (something durable was damaged; the log
// was left as it is), [*wal.VersionError] (a newer program wrote it).
func Open(dir string, cfg *Config) (*Coordinator, error) {
	// The configuration is checked first: a mistake in it leaves no trace.
	if _, err := newCoordinator(cfg); err != nil {
		return nil, err
	}
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	log, err := wal.Open(dir, &wal.Options{OutcomeLimit: full.OutcomeLimit, OutcomeRetention: full.OutcomeRetention})
	if err != nil {
		return nil, err
	}
	c, err := OpenLog(log, cfg)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return c, nil
}

// OpenLog is like [Open] over a log of the caller's. If it succeeds the
// coordinator owns the log and closes it.
func OpenLog(log txlog.Log, cfg *Config) (*Coordinator, error) {
	c, err := newCoordinator(cfg)
	if err != nil {
		return nil, err
	}
	c.log = log
	c.roomer, _ = log.(txlog.Roomer)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	began := time.Now()
	found, err := c.replay()
	if err != nil {
		c.cancel()
		return nil, err
	}
	failpoint.Hit(failpoint.RecoverReplayed)
	if err := c.beginIncarnation(); err != nil {
		c.cancel()
		return nil, fmt.Errorf("begin a new incarnation of the log: %w", err)
	}
	if h := c.hold.Load(); h.active {
		c.warnOfHold(h)
	}
	c.recover(found, began)
	if f, ok := log.(txlog.Failer); ok {
		c.wg.Go(func() {
			select {
			case <-f.Failed():
				c.logFailed(f.Err())
			case <-c.ctx.Done():
			}
		})
	}
	return c, nil
}

// newCoordinator checks the configuration and registers its participants.
func newCoordinator(cfg *Config) (*Coordinator, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Coordinator{cfg: full, closed: make(chan struct{}), live: newLiveTable(), past: newOutcomes(full.OutcomeLimit, full.OutcomeRetention), recent: recent{limit: full.KeepEnded}}
	c.hold.Store(new(holding))
	c.growing = &lane{c: c}
	c.reserved = sync.NewCond(&c.mu)
	for _, p := range full.Participants {
		r, err := register(p)
		if err != nil {
			return nil, err
		}
		l := c.lane(p.ID())
		if l.p.Load() != nil {
			return nil, fmt.Errorf("%w: two participants are called %s", ErrBadRequest, p.ID())
		}
		l.p.Store(r)
	}
	return c, nil
}

// beginIncarnation makes this opening of the log part of its history, before the
// first XID of it is used.
func (c *Coordinator) beginIncarnation() error {
	number, err := c.nextIncarnation()
	if err != nil {
		return err
	}
	var nonce [4]byte
	chance.Read(nonce[:])
	c.self = protocol.Incarnation{Number: number, Nonce: binary.LittleEndian.Uint32(nonce[:])}
	force := c.log.Force
	if canary.On(canary.IncarnationNotForced) {
		force = c.log.Append
	}
	err = force(&txlog.Incarnation{Incarnation: c.self, Through: seqBlock})
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.RecoverIncarnationForced)
	c.history = append(c.history, protocol.Opening{Incarnation: c.self, Through: seqBlock})
	c.next, c.through = 1, seqBlock
	c.raise()
	return nil
}

// register looks up a participant's abilities.
func register(p Participant) (*registration, error) {
	if p == nil {
		return nil, fmt.Errorf("%w: a participant is nil", ErrBadRequest)
	}
	if err := checkParticipantID(p.ID()); err != nil {
		return nil, err
	}
	if f, ok := p.(ParticipantFuncs); ok && f.PrepareFunc == nil {
		return nil, fmt.Errorf("%w: participant %s has no PrepareFunc; without one it could not vote", ErrBadRequest, p.ID())
	}
	if f, ok := p.(*ParticipantFuncs); ok && (f == nil || f.PrepareFunc == nil) {
		return nil, fmt.Errorf("%w: participant %s has no PrepareFunc; without one it could not vote", ErrBadRequest, p.ID())
	}
	r := &registration{Participant: p}
	r.lister, _ = p.(Lister)
	if f, ok := p.(ParticipantFuncs); ok && f.InDoubtFunc == nil {
		r.lister = nil // it never will
	}
	r.once, _ = p.(OnePhaser)
	if nb, ok := p.(NonBlocking); ok {
		r.inline = nb.NonBlocking()
	}
	return r, nil
}

// Register adds a participant, or replaces the one of the same id for all later
// calls. Branches that wait for it are called at once.
func (c *Coordinator) Register(p Participant) error { return c.register(p, nil) }

// RegisterWith is [Coordinator.Register] with the timing of this participant, in
// place of that of [Config.ParticipantTiming]; zero fields take the values of
// [Config.Timing].
func (c *Coordinator) RegisterWith(p Participant, timing Timing) error {
	if err := timing.check("timing"); err != nil {
		return err
	}
	timing = timing.or(c.cfg.Timing)
	return c.register(p, &timing)
}

// Unregister takes a participant out: no new branch may name it. What is not
// finished there is called no more, waits until a participant of that id is
// registered again, and is shown meanwhile. Calls that are out go on. The error is
// [ErrBadRequest] if it is not registered.
func (c *Coordinator) Unregister(id string) error {
	l, err := c.takeOut(id)
	if err == nil {
		l.dismiss()
	}
	return err
}

func (c *Coordinator) takeOut(id string) (*lane, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.lanes.Load(id)
	if !ok || !known.(*lane).registered() {
		return nil, fmt.Errorf("%w: participant %s is not registered", ErrBadRequest, id)
	}
	l := known.(*lane)
	l.stopSweep()
	gone := *l.p.Load()
	gone.gone = true
	l.p.Store(&gone)
	return l, nil
}

func (c *Coordinator) register(p Participant, timing *Timing) error {
	r, err := register(p)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return ErrClosed
	}
	c.owners.Add(1) // what is woken may make calls
	defer c.owners.Done()
	l := c.lane(p.ID())
	l.swept = false          // the new one may hold what the old one never listed,
	l.lowOld.Store(new(XID)) // and is called with low water from now on,
	l.lowSeq.Store(0)
	l.stopSweep()
	l.p.Store(r)
	if timing != nil {
		l.timing.Store(timing)
	}
	l.setLowWater()
	c.startSweep(l)
	c.mu.Unlock()
	l.renew()
	return nil
}

// lane returns the lane of a participant id, made if needed.
func (c *Coordinator) lane(id string) *lane {
	if l, ok := c.lanes.Load(id); ok {
		return l.(*lane)
	}
	l := &lane{c: c, id: id}
	timing := c.cfg.ParticipantTiming[id].or(c.cfg.Timing)
	l.timing.Store(&timing)
	actual, _ := c.lanes.LoadOrStore(id, l)
	return actual.(*lane)
}

func (c *Coordinator) eachLane(f func(*lane)) {
	c.lanes.Range(func(_, l any) bool { f(l.(*lane)); return true })
}

func (c *Coordinator) now() time.Time { return time.Now() }

// after calls f on a goroutine of the coordinator's, unless it is closed first.
func (c *Coordinator) after(d time.Duration, f func()) {
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		timer := time.NewTimer(chance.Apart(d))
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-c.ctx.Done():
		}
	}()
}

// logFailed remembers the first failure of the log.
func (c *Coordinator) logFailed(err error) {
	if c.logError.CompareAndSwap(nil, &err) {
		c.cfg.Logger.Error("the log has failed: nothing more is decided; close and open it again", "error", err)
	}
}

// failed returns the log's failure, or nil.
func (c *Coordinator) failed() error {
	if p := c.logError.Load(); p != nil {
		return *p
	}
	return nil
}

func isRefused(err error) bool { return errors.Is(err, txlog.ErrRefused) }

// Err returns the failure that made the coordinator stop taking work, wrapped in
// [ErrLogFailed], or nil.
func (c *Coordinator) Err() error {
	if err := c.failed(); err != nil {
		return fmt.Errorf("%w: %w", ErrLogFailed, err)
	}
	return nil
}

// ID returns the id of the log, which is part of every XID.
func (c *Coordinator) ID() LogID { return c.log.ID() }

// Close stops taking new work and waits until every transaction that was started
// is decided: those that Execute runs decide by themselves, within their prepare
// timeout; those grown by Run that have not been decided are rolled back. Then
// it waits for the calls that are out. What is left of phase two is finished by
// the next Open. A participant that ignores its context delays Close.
//
// Close may be called more than once; every call waits for the first.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	again := c.closing
	c.closing = true
	var grown []*txn
	grown = slices.AppendSeq(grown, c.live.all())
	c.reserved.Broadcast()
	c.mu.Unlock()
	if again {
		<-c.closed
		return c.closeErr
	}
	defer close(c.closed)
	failpoint.Hit(failpoint.CloseBegun)
	for _, t := range grown {
		t.shutDown()
	}
	c.owners.Wait()
	failpoint.Hit(failpoint.CloseDecided)
	c.cancel()
	c.eachLane((*lane).stop)
	c.wg.Wait()
	failpoint.Hit(failpoint.CloseCallsReturned)
	if left := c.Stats().Unfinished; left > 0 {
		c.cfg.Logger.Info("closing: unfinished transactions are left to the next start", "transactions", left)
	}
	c.closeErr = c.log.Close()
	return c.closeErr
}

// shutDown rolls back a transaction that is still growing, and lets an owner that
// only waits for phase two go home.
func (t *txn) shutDown() {
	if t.claim(nil, ErrClosed) {
		t.c.wg.Go(func() { t.giveUp(ReasonShuttingDown) })
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m.State() == protocol.Active {
		t.mayOnePhase()
		t.step(protocol.Cancelled{Code: ReasonShuttingDown})
	}
	if t.growth != nil && t.growth.giveUp != nil {
		t.growth.giveUp() // the function given to Run need not go on
	}
	t.pump(false)
}

// Stats are numbers about a coordinator at one moment.
type Stats struct {
	Begun      int64 // transactions begun since Open
	Committed  int64 // outcomes told since Open, recovered ones included
	RolledBack int64
	Hazards    int64
	Unfinished int // transactions that are not finished everywhere
	Remembered int // finished transactions whose outcome is remembered
}

// Stats returns the numbers of the moment.
func (c *Coordinator) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Begun: c.begun, Committed: c.stats.committed.Load(),
		RolledBack: c.stats.rolledBack.Load(), Hazards: c.stats.hazards.Load(),
		Unfinished: c.live.len(), Remembered: c.past.len(),
	}
}

func (c *Coordinator) count(o Outcome) {
	switch o {
	case Committed:
		c.stats.committed.Add(1)
	case RolledBack:
		c.stats.rolledBack.Add(1)
	case OutcomeUnknown, Heuristic:
	}
}

// participantIDs returns the ids of all lanes, sorted, for tools and messages.
func (c *Coordinator) participantIDs() []string {
	ids := map[string]bool{}
	c.eachLane(func(l *lane) {
		if l.registered() {
			ids[l.id] = true
		}
	})
	return slices.Sorted(maps.Keys(ids))
}
