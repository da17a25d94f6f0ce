package dtc

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// startSweep begins to ask a participant, now and until it is replaced or taken out, what
// it holds in doubt. A prepare record is not forced for a participant that can list, so a
// power failure may lose it; the sweep finds what that participant still holds.
// The caller holds c.mu or is the only one who knows the coordinator.
func (c *Coordinator) startSweep(l *lane) {
	r := l.p.Load()
	if r == nil || r.lister == nil {
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	r.endSweep = cancel
	c.wg.Go(func() {
		failures := 0
		for {
			wait := c.cfg.SweepInterval
			if !r.listing() {
				wait = min(wait, relistInterval) // it may become listing at any time
			}
			if err := c.sweep(ctx, l, r); err != nil {
				failures++
				wait = min(wait, backoff(failures, time.Second, l.timing.Load().FinishBackoffCap, jitter))
			} else {
				failures = 0
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	})
}

// stopSweep ends the sweep of the participant that is registered, which will be so no more.
// A listing that does not return is waited for by Close alone. The caller holds c.mu.
func (l *lane) stopSweep() {
	if r := l.p.Load(); r != nil && r.endSweep != nil {
		r.endSweep()
	}
}

// sweep takes the participant's complete listing first, and looks into the live
// table and the log afterwards: a branch that was registered before its prepare
// was sent, and is listed, was registered before the listing.
//
// What no transaction owned then may just have been finished, between the listing
// and the look. So it is listed again, and only what stands in both is believed:
// what nobody owned before a listing was taken, and that listing shows, nobody
// owns.
func (c *Coordinator) sweep(ctx context.Context, l *lane, r *registration) error {
	hold := c.hold.Load()
	if !r.listing() {
		// It may become listing later; until then there is nothing to ask.
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	look := c.look
	if canary.On(canary.LookBeforeList) || canary.On(canary.PresumeOwn) {
		look = c.lookEarly(l)
	}
	listed, err := list(limited, r.lister, c.log.ID())
	if canary.On(canary.BelieveFailedListing) {
		err = nil
	}
	failpoint.Hit(failpoint.SweepListed)
	suspects := c.unowned(l, listed, look)
	if err == nil && len(suspects) > 0 {
		var again []InDoubtBranch
		again, err = list(limited, r.lister, c.log.ID())
		failpoint.Hit(failpoint.SweepListedAgain)
		suspects = slices.DeleteFunc(suspects, func(x XID) bool {
			return !slices.ContainsFunc(again, func(b InDoubtBranch) bool { return b.XID == x })
		})
	}
	orphans := 0
	if err == nil && !c.heed(l, c.unheardOf(suspects)) {
		orphans = c.adopt(l, r, hold, suspects, look)
	}
	if f := c.cfg.Trace.Swept; f != nil {
		f(l.id, len(listed), orphans, err)
	}
	if err != nil && ctx.Err() == nil {
		c.cfg.Logger.Warn("a participant did not say what it holds in doubt", "participant", l.id, "error", err)
	}
	return err
}

const sweepTimeout = time.Minute

// relistInterval is how soon a participant that cannot list is looked at again: one
// that can, and did not at first, must not hold orphans for a whole interval.
const relistInterval = 5 * time.Second

func list(ctx context.Context, lister Lister, log LogID) (branches []InDoubtBranch, err error) {
	defer func() {
		if r := recover(); r != nil {
			branches, err = nil, &panicError{fmt.Sprintf("the participant panicked while it listed: %v", r), debug.Stack()}
		}
	}()
	return lister.InDoubt(ctx, log)
}

// unowned returns the listed branches of our log that no live transaction owns.
func (c *Coordinator) unowned(l *lane, listed []InDoubtBranch, look look) (suspects []XID) {
	if len(listed) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	running, _ := look(l, nil)
	seen := make(map[XID]bool, len(listed)) // one branch is one transaction, however often it is listed
	for _, b := range listed {
		if b.XID.Log == c.log.ID() && !running[b.XID] && !seen[b.XID] {
			seen[b.XID] = true
			suspects = append(suspects, b.XID)
		}
	}
	return suspects
}

// running returns the live transactions that have a branch at the participant:
// an orphan at one participant is no owner of its sister at another. The caller
// holds c.mu.
func (c *Coordinator) running(l *lane) map[XID]bool {
	running := make(map[XID]bool)
	for t := range c.live.all() {
		for _, br := range t.branches {
			if br.lane == l {
				running[t.xid] = true
			}
		}
	}
	return running
}

// look is a look into the live table, for the transactions that have a branch at a
// participant, and at how others ended. The caller holds c.mu.
type look func(l *lane, xids []XID) (running map[XID]bool, ended map[txlog.Ref]Outcome)

func (c *Coordinator) look(l *lane, xids []XID) (map[XID]bool, map[txlog.Ref]Outcome) {
	if len(xids) == 0 {
		return c.running(l), nil
	}
	ended := make(map[txlog.Ref]Outcome, len(xids))
	for _, x := range xids {
		ended[refOf(x)] = OutcomeUnknown
	}
	c.past.decisions(ended)
	return c.running(l), ended
}

// lookEarly looks once, before the listing is taken, at all that may change: a
// mistake that tests plant.
func (c *Coordinator) lookEarly(l *lane) look {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []XID
	for seq := range c.next {
		all = append(all, XID{Log: c.log.ID(), Incarnation: c.self, Seq: seq})
	}
	running, ended := c.look(l, all)
	return func(*lane, []XID) (map[XID]bool, map[txlog.Ref]Outcome) { return running, ended }
}

// adopt decides about the branches that no transaction owns. Those that may be
// rolled back become transactions of one branch, so that they are retried,
// bounded, shown and counted for low water like all others.
//
// What r listed says nothing about a participant that has taken its place meanwhile;
// and of a listing that is older than a hold nothing is concluded for low water.
func (c *Coordinator) adopt(l *lane, r *registration, hold *holding, suspects []XID, look look) int {
	c.mu.Lock()
	if l.p.Load() != r {
		c.mu.Unlock()
		return 0
	}
	var running map[XID]bool
	var ended map[txlog.Ref]Outcome
	if len(suspects) > 0 {
		running, ended = look(l, suspects)
	}
	var orphans []*txn
	earlier := 0                       // of those that are left, of earlier incarnations
	left := map[XID]protocol.Verdict{} // not for us to finish
	for _, x := range suspects {
		verdict := protocol.Sweep(x, protocol.View{
			Log: c.log.ID(), Replayed: true, History: c.history,
			Live: running[x], Held: c.hold.Load().covers(x.Incarnation.Number),
			Decision: c.decision(x, ended[refOf(x)]),
		})
		switch verdict {
		case protocol.RollBack:
			orphans = append(orphans, c.orphan(l, x))
		case protocol.UnknownIncarnation, protocol.Decided, protocol.Held:
			if x.Incarnation != c.self {
				earlier++
			}
			left[x] = verdict
		case protocol.Foreign, protocol.NotYet, protocol.Running:
		}
	}
	l.left = len(left)
	if earlier == 0 && c.hold.Load() == hold || canary.On(canary.SweptDespiteHeld) {
		l.swept = true
		l.setLowWater()
	}
	c.mu.Unlock()
	for _, x := range suspects {
		if verdict, ok := left[x]; ok {
			c.cfg.Logger.Error("a participant holds a branch in doubt that must not be presumed aborted: look at it",
				"xid", x.String(), "participant", l.id, "state", verdict.String())
		}
	}
	for _, t := range orphans {
		c.cfg.Logger.Info("rolling back a branch that no transaction owns", "xid", t.xid.String(), "participant", l.id)
		failpoint.Hit(failpoint.SweepLooked)
		t.handle(protocol.Recovered{})
		failpoint.Hit(failpoint.SweepRolledBack)
	}
	return len(orphans)
}

// unheardOf returns the branches of incarnations or sequences that this log never had.
func (c *Coordinator) unheardOf(suspects []XID) (unknown []XID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range suspects {
		v := protocol.View{Log: c.log.ID(), Replayed: true, History: c.history}
		if protocol.Sweep(x, v) == protocol.UnknownIncarnation {
			unknown = append(unknown, x)
		}
	}
	return unknown
}

// decision returns what the log decided about a transaction that is not live, and
// of which that much is remembered. One that was registered here, or that the log
// has ever held, is explained by no lost record: unless it is remembered as rolled
// back it counts as committed. The caller holds c.mu.
func (c *Coordinator) decision(x XID, remembered Outcome) Outcome {
	ours := x.Incarnation == c.self && !canary.On(canary.PresumeOwn) || c.logged.Has(refOf(x))
	if ours && remembered == OutcomeUnknown {
		return Committed
	}
	return remembered
}

func refOf(x XID) txlog.Ref {
	return txlog.Ref{Incarnation: x.Incarnation.Number, Seq: x.Seq}
}

// orphan registers a listed branch that may be rolled back. The caller holds
// c.mu.
func (c *Coordinator) orphan(l *lane, x XID) *txn {
	t := &txn{c: c, xid: x, started: c.now(), recovered: true, waits: true, ctx: c.ctx}
	t.m, t.presumed = protocol.Recover(protocol.Found{Plain: []bool{false}, Unlogged: true}), true
	br := &branchRun{tx: t, lane: l}
	t.branches = []*branchRun{br}
	c.linkBranch(br)
	l.orphans++
	c.live.add(t)
	return t
}
