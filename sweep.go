package dtc

import (
	"context"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// startSweep begins to ask a participant, now and for ever after, what it holds
// in doubt. A prepare record is not forced for a participant that can list, so a
// power failure may lose it; the sweep finds what that participant still holds.
// The caller holds c.mu or is the only one who knows the coordinator.
func (c *Coordinator) startSweep(l *lane) {
	if r := l.p.Load(); r == nil || r.lister == nil {
		return
	}
	c.wg.Go(func() {
		failures := 0
		for {
			wait := c.cfg.SweepInterval
			if err := c.sweep(l); err != nil {
				failures++
				wait = min(wait, backoff(failures, time.Second, l.timing.FinishBackoffCap, jitter))
			} else {
				failures = 0
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-c.ctx.Done():
				timer.Stop()
				return
			}
		}
	})
}

// sweep takes the participant's complete listing first, and looks into the live
// table and the log afterwards: a branch that was registered before its prepare
// was sent, and is listed, was registered before the listing. What nobody owns
// and nobody can decide any more is rolled back.
func (c *Coordinator) sweep(l *lane) error {
	r := l.p.Load()
	if !r.listing() {
		// It may become listing later; until then there is nothing to ask.
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, sweepTimeout)
	defer cancel()
	listed, err := list(ctx, r.lister, c.log.ID())
	orphans := 0
	if err == nil {
		orphans = c.adopt(l, listed)
	}
	if f := c.cfg.Trace.Swept; f != nil {
		f(l.id, len(listed), orphans, err)
	}
	if err != nil && c.ctx.Err() == nil {
		c.cfg.Logger.Warn("a participant did not say what it holds in doubt", "participant", l.id, "error", err)
	}
	return err
}

const sweepTimeout = time.Minute

func list(ctx context.Context, lister Lister, log LogID) (branches []InDoubtBranch, err error) {
	defer func() {
		if r := recover(); r != nil {
			branches, err = nil, &panicError{"the participant panicked while it listed"}
		}
	}()
	return lister.InDoubt(ctx, log)
}

// adopt decides about each listed branch. Those that may be rolled back become
// transactions of one branch, so that they are retried, bounded, shown and
// counted for low water like all others.
//
// A transaction of ours may have ended between the listing and the look, so what
// concerns this incarnation, or a decision that we know, counts only when two
// listings in a row show it. That is a margin against noise; it is not what makes
// the sweep safe.
func (c *Coordinator) adopt(l *lane, listed []InDoubtBranch) int {
	c.mu.Lock()
	running := make(map[XID]bool)
	decisions := make(map[txlog.Ref]Outcome)
	if len(listed) > 0 {
		for t := c.oldest; t != nil; t = t.newer {
			running[t.xid] = true
		}
		for _, b := range listed {
			decisions[refOf(b.XID)] = OutcomeUnknown
		}
		c.past.decisions(decisions)
	}
	var orphans []*txn
	unclear := 0 // of earlier incarnations, and not to be finished by us
	seen := make(map[XID]int, len(listed))
	for _, b := range listed {
		seen[b.XID] = l.listed[b.XID] + 1
		verdict := protocol.Sweep(b.XID, protocol.View{
			Log: c.log.ID(), Replayed: true, History: c.history,
			Live: running[b.XID], Decision: decisions[refOf(b.XID)],
		})
		switch {
		case verdict == protocol.RollBack && (b.XID.Incarnation != c.self || seen[b.XID] > 1):
			running[b.XID] = true
			orphans = append(orphans, c.orphan(l, b.XID))
		case verdict == protocol.UnknownIncarnation, verdict == protocol.Decided:
			if b.XID.Incarnation != c.self {
				unclear++
			}
			if seen[b.XID] == 2 {
				c.cfg.Logger.Error("a participant holds a branch in doubt that must not be presumed aborted: look at it",
					"xid", b.XID.String(), "participant", l.id, "state", verdict.String())
			}
		}
	}
	l.listed = seen
	if unclear == 0 {
		l.swept = true
		l.setLowWater()
	}
	c.mu.Unlock()
	for _, t := range orphans {
		c.cfg.Logger.Info("rolling back a branch that no transaction owns", "xid", t.xid.String(), "participant", l.id)
		t.handle(protocol.Recovered{})
	}
	return len(orphans)
}

func refOf(x XID) txlog.Ref {
	return txlog.Ref{Incarnation: x.Incarnation.Number, Seq: x.Seq}
}

// orphan registers a listed branch that may be rolled back. The caller holds
// c.mu.
func (c *Coordinator) orphan(l *lane, x XID) *txn {
	t := &txn{c: c, xid: x, started: c.now(), recovered: true, waits: true, ctx: c.ctx}
	t.m = protocol.Recover(protocol.Found{Plain: []bool{false}, Unlogged: true})
	br := &branchRun{tx: t, lane: l}
	t.branches = []*branchRun{br}
	c.linkBranch(br)
	c.link(t)
	return t
}
