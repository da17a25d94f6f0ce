package dtc

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// begin looks an id up and registers a new transaction, in one atomic step: an
// id never runs twice at the same time. It returns either the new transaction,
// or one to join, or what is remembered of an earlier one.
func (c *Coordinator) begin(id TxID, fp [16]byte, lanes []*lane, branches []Branch, g *growth) (t *txn, join bool, past *remembered, err error) {
	if strings.HasPrefix(string(id), "dtc.") {
		if x, err := ParseXID(string(id)); err == nil && x.Log == c.log.ID() {
			return nil, false, nil, fmt.Errorf("%w: the transaction id %s is the XID of a transaction of this log", ErrBadRequest, id)
		}
	}
	t = c.newTxn(id, fp, lanes, branches)
	t.growth = g // before anybody can find it
	unused, warn := t, false
	defer func() {
		if warn {
			c.cfg.Logger.Warn("new transactions are refused", "tx", string(id), "error", err)
		}
		if t != unused {
			unused.free() // nobody has seen it
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.sequence(); err != nil { // may let go of the lock: before any look-up
		return nil, false, nil, err
	}
	if old := c.live.find(id, t.hash); old != nil && !canary.On(canary.RunIDTwice) {
		if old.fingerprint != fp && !canary.On(canary.LiveRequestNotCompared) {
			return nil, false, nil, fmt.Errorf("%w: %s is running with other branches or payloads", ErrTxConflict, id)
		}
		return old, true, nil, nil
	}
	if past := c.past.look(&t.key, t.hash, t.started); past != nil && !canary.On(canary.ForgetID) {
		if past.fingerprint != fp && !canary.On(canary.PastRequestNotCompared) {
			return nil, false, nil, fmt.Errorf("%w: %s has ended, with other branches or payloads", ErrTxConflict, id)
		}
		return nil, false, past, nil
	}
	if c.logError.Load() != nil { // what is known may still be told; nothing is begun
		return nil, false, nil, c.Err()
	}
	if err := c.room(lanes); err != nil {
		if now := c.now(); errors.Is(err, ErrFull) && (c.refusedAt.IsZero() || now.Sub(c.refusedAt) >= refusedAgain) {
			c.refusedAt, warn = now, true
		}
		return nil, false, nil, err
	}
	t.xid = XID{Log: c.log.ID(), Incarnation: c.self, Seq: c.next}
	c.next++
	switch {
	case g != nil:
		t.seed = &branchRun{tx: t, lane: c.growing}
		c.linkBranch(t.seed)
	case !t.waits:
		t.fresh = true
	default:
		for _, br := range t.branches {
			c.linkBranch(br)
		}
	}
	c.live.add(t)
	c.raise()
	c.owners.Add(1)
	c.begun++
	failpoint.Hit(failpoint.TxBegun)
	return t, false, nil, nil
}

// refusedAgain is how long it is not logged again that transactions are refused.
const refusedAgain = time.Minute

// known looks up whether the same request is running or remembered.
func (c *Coordinator) known(id TxID, fp [16]byte) (known bool, t *txn, past *remembered) {
	if t, past = c.lookUp(id); t != nil {
		return t.fingerprint == fp, t, nil
	}
	return past != nil && past.fingerprint == fp, nil, past
}

// lookUp returns the running transaction of an id, or what is remembered of it.
func (c *Coordinator) lookUp(id TxID) (*txn, *remembered) {
	key := outcomeKey(id)
	hash := c.past.byKey.hash(&key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.live.find(id, hash); t != nil {
		return t, nil
	}
	return nil, c.past.look(&key, hash, c.now())
}

// newTxn makes a transaction that nobody knows of yet.
func (c *Coordinator) newTxn(id TxID, fp [16]byte, lanes []*lane, branches []Branch) *txn {
	t, block := newMemory(len(lanes))
	t.c, t.ctx = c, c.ctx
	t.m.Reset(len(lanes))
	t.id, t.key, t.fingerprint, t.started = id, outcomeKey(id), fp, c.now()
	t.hash = c.past.byKey.hash(&t.key)
	for i, l := range lanes {
		t.branches[i] = &block[i]
		block[i].payload = branches[i].Payload
		t.enlist(&block[i], l, i, false)
	}
	return t
}

// enlist fills in a branch and tells the machine.
func (t *txn) enlist(br *branchRun, l *lane, i int, touched bool) {
	r := l.p.Load()
	br.tx, br.lane, br.index = t, l, i
	t.m.Enlist(!r.listing(), touched)
	t.waits = t.waits || r == nil || !r.inline
}

// room reports whether a transaction over these lanes may begin. The caller
// holds c.mu.
func (c *Coordinator) room(lanes []*lane) error {
	if c.closing {
		return ErrClosed
	}
	if c.live.len() >= c.cfg.MaxTransactions {
		return fmt.Errorf("%w: %d are not finished", ErrFull, c.live.len())
	}
	if c.roomer != nil {
		if err := c.roomer.Room(); err != nil {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	for _, l := range lanes {
		if err := l.room(); err != nil {
			return err
		}
	}
	return nil
}

// room reports whether the participant may hold one more unfinished branch. The
// caller holds c.mu.
func (l *lane) room() error {
	if l.unfinished.len() >= max(1, l.c.cfg.MaxTransactions/2) {
		return fmt.Errorf("%w: %d wait for participant %s", ErrFull, l.unfinished.len(), l.id)
	}
	return nil
}

// sequence makes sure that c.next may be used, and reserves the next block in
// time. The caller holds c.mu; it is released while waiting.
func (c *Coordinator) sequence() error {
	if c.closing || c.logError.Load() != nil {
		return nil // nothing will be begun; the caller says why
	}
	if c.next+seqBlock/2 > c.through && !c.awaiting {
		c.awaiting = true
		through := c.through + seqBlock
		c.wg.Go(func() { c.reserve(through) })
	}
	for c.next > c.through {
		if c.closing {
			return ErrClosed
		}
		if !c.awaiting {
			return c.Err()
		}
		c.reserved.Wait()
	}
	return nil
}

func (c *Coordinator) reserve(through uint64) {
	err := c.log.Force(&txlog.Block{Incarnation: c.self.Number, Through: through})
	if err != nil {
		c.logFailed(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.through = through
		c.history[len(c.history)-1].Through = through
	}
	c.awaiting = false
	c.reserved.Broadcast()
}

// linkBranch counts a branch as unfinished at its participant. The caller holds
// c.mu.
func (c *Coordinator) linkBranch(br *branchRun) {
	br.linked = true
	l := br.lane
	l.unfinished.add(br)
	if first, _ := l.unfinished.first(); first == br {
		l.setLowWater()
	}
}

// grown notes that a transaction enlists nothing any more. The caller holds c.mu.
func (c *Coordinator) grown(t *txn) {
	if t.seed != nil {
		c.unlinkBranch(t.seed)
		t.seed = nil
		c.raise()
	}
}

func (c *Coordinator) unlinkBranch(br *branchRun) {
	if !br.linked {
		return
	}
	br.linked = false
	if l := br.lane; l.unfinished.remove(br) {
		l.setLowWater()
	}
}

// forget drops a transaction from the live table and remembers its outcome.
func (c *Coordinator) forget(t *txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.live.remove(t)
	for i := range t.branches {
		c.unlinkBranch(t.branches[i])
	}
	c.grown(t)
	c.raise()
	if t.refused == nil {
		c.recent.add(t)
		c.ended.count(t.m.Decision())
	}
	if t.id == "" {
		t.branches[0].lane.orphans--
	}
	if last && t.refused == nil && t.m.Outcome() != OutcomeUnknown {
		c.past.put(&t.key, t.hash, &remembered{
			outcome: t.m.Outcome(), code: t.reason.Code, fingerprint: t.fingerprint,
			ref: t.ref(), at: c.past.steady(t.endedAt()).UnixNano(),
		})
	}
	failpoint.Hit(failpoint.TxForgotten)
}

// endedAt returns the time at which a transaction that ends now has ended. The
// caller holds t.mu.
func (t *txn) endedAt() time.Time {
	if t.owned && !t.sent && !t.decidedAt.IsZero() {
		return t.decidedAt // nothing was waited for since: that was just now
	}
	return t.c.now()
}

// unlinkDone takes a finished branch out of its participant's list although the
// transaction lives on, so that a dead neighbour does not hold back low water.
// While a caller still waits that is not worth a lock.
// The caller holds t.mu.
func (t *txn) unlinkDone() {
	if t.ended || t.owned {
		return
	}
	for i, br := range t.branches {
		if br.linked && t.m.Done(i) {
			t.c.mu.Lock()
			t.c.unlinkBranch(br)
			t.c.mu.Unlock()
		}
	}
}

// raise works out how far low water may rise at participants at which nothing
// older is unfinished: to the first transaction that is fresh or still grows, and
// so may be anywhere, or else to the next one to begin. It is called after what
// such a transaction turns into stands in the lists of its participants. The
// caller holds c.mu.
func (c *Coordinator) raise() {
	seq := c.next
	if t, ref := c.live.fresh.first(); t != nil {
		seq = min(seq, ref.Seq)
	}
	if g, ref := c.growing.unfinished.first(); g != nil {
		seq = min(seq, ref.Seq)
	}
	// With many callers it moves all the time, and to write it takes it away from
	// all who read it: then it may lag behind a little, which is always safe.
	if c.live.fresh.len() < 32 || seq > c.lowNext.Load()+16 {
		c.lowNext.Store(seq)
	}
}

// setLowWater works out what bounds the participant's low water beside
// c.lowNext. The caller holds c.mu.
func (l *lane) setLowWater() {
	c := l.c
	v := protocol.LowWaterView{
		Replayed: c.next > 0, Held: c.hold.Load().active, Plain: !l.p.Load().mayList(), Swept: l.swept,
		Next: XID{Log: c.logID(), Incarnation: c.self, Seq: math.MaxUint64},
	}
	if oldest, ref := l.unfinished.first(); oldest != nil {
		if v.Oldest = v.Next; ref.Incarnation == c.self.Number {
			v.Oldest.Seq = ref.Seq // the same without touching the transaction
		} else {
			v.Oldest = oldest.tx.xid
		}
	}
	low := protocol.LowWater(v)
	if low.Incarnation == c.self {
		l.lowSeq.Store(low.Seq)
		return
	}
	old := low // a copy of its own, so that the usual case allocates nothing
	l.lowOld.Store(&old)
	l.lowSeq.Store(0)
}

func (c *Coordinator) logID() (id LogID) {
	if c.log != nil {
		id = c.log.ID()
	}
	return id
}

// lowWater returns the lowest XID that may be unfinished at the participant, or
// zero if that is not known.
func (l *lane) lowWater() XID {
	// In this order: what stops bounding the one bounds the other before.
	next := l.c.lowNext.Load()
	if seq := min(next, l.lowSeq.Load()); seq != 0 {
		return XID{Log: l.c.log.ID(), Incarnation: l.c.self, Seq: seq}
	}
	if low := l.lowOld.Load(); low != nil {
		return *low
	}
	return XID{}
}

// lanesOf appends the lanes that the branches name to lanes; every one must have
// a participant.
func (c *Coordinator) lanesOf(branches []Branch, lanes []*lane) ([]*lane, error) {
	for i := range branches {
		l, ok := c.lanes.Load(branches[i].Participant)
		if !ok || !l.(*lane).registered() {
			if err := checkParticipantID(branches[i].Participant); err != nil {
				return nil, err
			}
			known := strings.Join(c.participantIDs(), ", ")
			if known == "" {
				known = "none"
			}
			return nil, fmt.Errorf("%w: participant %s is not registered; registered are: %s",
				ErrBadRequest, branches[i].Participant, known)
		}
		lanes = append(lanes, l.(*lane))
	}
	return lanes, nil
}
