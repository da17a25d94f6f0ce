package dtc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// # The recovery hold
//
// Presumed abort rests on one sentence: what the log does not say was not decided.
// A log that was copied or restored from a backup breaks it, because another log of
// the same id has said more. While there is evidence of that, a hold covers every
// incarnation up to a number, and of those:
//
//  1. A transaction that was found undecided in the log is not rolled back. It waits
//     ([txn.park]), is shown as held, and nobody is told anything about it.
//  2. A branch that a participant lists and no log knows is left alone and shown.
//  3. A presumption that is on its way (an undecided transaction or an orphan that is
//     being rolled back when the hold begins) is not called out any more, not after a
//     restart either; what somebody has already heard cannot be unsaid.
//  4. Low water is told to nobody: what the other log began is not known here.
//
// Everything else goes on: new transactions, and decisions that stand in the log.
//
// A hold begins with a [txlog.Hold] in the log: the store writes one when it finds
// itself copied, an operator does with [Coordinator.Hold], and the sweep does when a
// participant names an incarnation, or a sequence, that this log never had. It counts
// from the moment of the evidence, before it is durable: if that moment is lost with
// the process, the evidence still stands at the participant.
//
// It ends when an operator says so ([Coordinator.Release]), and the log says so
// first. The same evidence does not begin it again; evidence of later incarnations
// does.
//
// The incarnation after a hold is numbered far above it ([incarnationGap]), so that
// its XIDs stand above any low water that the other log's coordinator may have told.

// Hold describes a recovery hold.
type Hold struct {
	Through uint32 // it covers the incarnations up to this number
	Since   time.Time
	Reason  string
}

// holding is what the log says of holds. It is replaced, never changed.
type holding struct {
	Hold
	active   bool
	released uint32 // evidence of incarnations up to here is known, and was let go
}

// incarnationGap is how many numbers are left out after a hold: more openings than
// the other log will see before somebody notices that there are two.
const incarnationGap = 1 << 16

// with returns the holding after one more hold.
func (h *holding) with(through uint32, at time.Time, reason string) *holding {
	next := holding{Hold: Hold{Through: max(h.Through, through), Since: at, Reason: reason}, active: true, released: h.released}
	if h.active {
		next.Since = h.Since
	}
	return &next
}

// ended returns the holding after a release.
func (h *holding) ended() *holding {
	return &holding{Hold: Hold{Through: h.Through}, released: h.Through}
}

// covers reports whether a hold is in force and covers an incarnation.
func (h *holding) covers(incarnation uint32) bool { return h.active && incarnation <= h.Through }

// Held returns the recovery hold that is in force, and whether there is one.
func (c *Coordinator) Held() (Hold, bool) {
	h := c.hold.Load()
	return h.Hold, h.active
}

// Hold begins a recovery hold over every incarnation up to this one, or extends it.
// It is for an operator who knows that this log is not the whole truth, because it
// was restored together with the volume that it is on. Nothing of those incarnations
// is presumed until [Coordinator.Release]. The error is [ErrBadRequest] without a
// reason, [ErrClosed], or the log's.
func (c *Coordinator) Hold(_ context.Context, reason string) error {
	if err := checkReason(reason, "the log is held"); err != nil {
		return err
	}
	if !c.enter() {
		return ErrClosed
	}
	defer c.owners.Done()
	return c.beginHold(c.self.Number, reason)
}

// beginHold begins a hold at once, and returns when it is durable.
func (c *Coordinator) beginHold(through uint32, reason string) error {
	c.mu.Lock()
	h := c.hold.Load().with(through, c.now(), reason)
	c.setHold(h)
	c.due++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.due--
		c.mu.Unlock()
	}()
	c.warnOfHold(h)
	// Holds and releases stand in the log in the order in which they count.
	c.holds.Lock()
	defer c.holds.Unlock()
	c.park()
	failpoint.Hit(failpoint.HoldBegun)
	if err := c.log.Force(&txlog.Hold{Through: h.Through, Reason: reason}); err != nil {
		c.logFailed(err)
		return errors.Join(ErrLogFailed, err)
	}
	failpoint.Hit(failpoint.HoldForced)
	return nil
}

// warnOfHold logs that a hold is in force: when it begins, and at each opening under it.
func (c *Coordinator) warnOfHold(h *holding) {
	c.cfg.Logger.Error("the log may not be the whole truth: nothing of earlier incarnations is presumed; "+
		"compare the participants with the log, then run 'dtc log release'",
		"reason", h.Reason, "through", h.Through)
}

// setHold makes a hold, or its end, count. The caller holds c.mu.
func (c *Coordinator) setHold(h *holding) {
	c.hold.Store(h)
	c.eachLane(func(l *lane) {
		l.swept = l.swept && !h.active // what was listed before proves nothing any more
		l.setLowWater()
	})
}

// Release ends the recovery hold: what it covered is presumed as usual from now on.
// It is for an operator who has compared the participants with the log, and resolved
// there what the log does not know. The error is [ErrBadRequest] without a hold or a
// reason, or in the moment in which another one begins; [ErrClosed]; or the log's. Then
// the hold stays.
func (c *Coordinator) Release(_ context.Context, reason string) error {
	if err := checkReason(reason, "the hold is released"); err != nil {
		return err
	}
	if !c.enter() {
		return ErrClosed
	}
	defer c.owners.Done()
	c.holds.Lock()
	defer c.holds.Unlock()
	c.mu.Lock()
	before, due := c.hold.Load(), c.due
	c.mu.Unlock()
	switch {
	case !before.active:
		return fmt.Errorf("%w: there is no recovery hold", ErrBadRequest)
	case due > 0: // its evidence was not there when somebody looked, and it will stand behind the release
		return fmt.Errorf("%w: a recovery hold has just begun, or was extended: look at its reason first", ErrBadRequest)
	}
	if err := c.log.Force(&txlog.Release{Reason: reason}); err != nil {
		c.logFailed(err)
		return errors.Join(ErrLogFailed, err)
	}
	failpoint.Hit(failpoint.HoldReleased)
	c.cfg.Logger.Warn("the recovery hold was released by hand", "reason", reason, "through", before.Through)
	c.mu.Lock()
	if c.hold.Load() != before {
		c.mu.Unlock() // new evidence came meanwhile: its hold follows the release
		return nil
	}
	c.setHold(before.ended())
	parked := c.parked
	c.parked = nil
	for _, t := range parked {
		t.parking, t.reached = false, true
	}
	c.mu.Unlock()
	for _, t := range parked {
		t.unpark()
	}
	return nil
}

// enter keeps the coordinator from closing until c.owners.Done.
func (c *Coordinator) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.owners.Add(1)
	return true
}

func checkReason(reason, what string) error {
	if reason == "" || len(reason) > maxReason {
		return fmt.Errorf("%w: say why %s, in at most %d bytes", ErrBadRequest, what, maxReason)
	}
	return nil
}

// reach reports whether recovery may go on with a transaction that it found. One that
// is undecided and covered by a hold is parked instead.
func (c *Coordinator) reach(t *txn) bool {
	c.mu.Lock()
	covered := t.undecided && c.hold.Load().covers(t.xid.Incarnation.Number)
	parked, before := t.parking, t.reached
	t.reached = before || !parked && !covered
	c.mu.Unlock()
	switch {
	case parked:
		return false
	case before || !covered: // a hold that begins later does not park it any more
		return true
	}
	c.holds.Lock()
	c.park()
	c.holds.Unlock()
	return c.reach(t) // the hold may have been released meanwhile
}

// park parks every transaction that a hold covers and recovery has not reached. The
// caller holds c.holds.
func (c *Coordinator) park() {
	var found []*txn
	c.mu.Lock()
	h := c.hold.Load()
	for t := range c.live.all() {
		if t.undecided && !t.reached && !t.parking && h.covers(t.xid.Incarnation.Number) {
			t.parking = true
			found = append(found, t)
		}
	}
	c.parked = append(c.parked, found...)
	c.mu.Unlock()
	for _, t := range found { // not under c.mu, which is taken under t.mu
		t.mu.Lock()
		t.park()
		t.mu.Unlock()
	}
}

// park leaves the transaction as it was found. The caller holds t.mu.
func (t *txn) park() {
	t.held, t.told = true, true // whoever asks hears at once that this process cannot know
	if t.toldC != nil {
		close(t.toldC)
		t.toldC = nil
	}
	failpoint.Hit(failpoint.HoldParked)
}

// unpark lets it go on as if it had just been found.
func (t *txn) unpark() {
	t.mu.Lock()
	t.held, t.told = false, false
	t.mu.Unlock()
	failpoint.Hit(failpoint.HoldUnparked)
	t.handle(protocol.Recovered{})
}

// stopped reports whether a hold keeps a presumption from being called out.
func (t *txn) stopped() bool {
	return t.presumed && t.c.hold.Load().covers(t.xid.Incarnation.Number)
}

// heed looks at branches that name what this log never had, and begins a hold if
// that is news. It reports whether one began: then nothing that was found with them
// is presumed. It must be called without c.mu.
func (c *Coordinator) heed(l *lane, unknown []XID) bool {
	began := false
	for _, x := range unknown {
		h := c.hold.Load()
		if h.covers(x.Incarnation.Number) || !h.active && x.Incarnation.Number <= h.released {
			continue
		}
		began = true
		reason := fmt.Sprintf("participant %s holds %s, and this log has no such incarnation or sequence", l.id, x)
		_ = c.beginHold(max(x.Incarnation.Number, c.before()), reason) // without it nothing is presumed either
	}
	return began
}

// before returns the number of the incarnation before this one, or 0.
func (c *Coordinator) before() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.history); n > 1 {
		return c.history[n-2].Incarnation.Number
	}
	return 0
}

// nextIncarnation returns the number of an opening of the log.
func (c *Coordinator) nextIncarnation() (uint32, error) {
	last, h := uint32(0), c.hold.Load()
	if n := len(c.history); n > 0 {
		last = c.history[n-1].Incarnation.Number
	}
	next := uint64(last) + 1
	if h.Through > 0 && h.Through >= last {
		next = uint64(h.Through) + 1 + incarnationGap
	}
	if next > 1<<32-1 {
		// Somebody claims an incarnation at the end of all numbers. Prepares of
		// this one may be refused where such low water was told.
		next = uint64(last) + 1
	}
	if next > 1<<32-1 {
		return 0, errors.New("the log has no number left for an incarnation")
	}
	return uint32(next), nil
}
