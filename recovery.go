package dtc

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/txlog"
)

// unfinished is a transaction that the log holds without its end.
type unfinished struct {
	prepare  txlog.Prepare
	decision Outcome
	votes    []Vote
	reason   Reason
	resolved []Outcome
	begun    time.Time
	decided  time.Time // zero if the log holds no decision
}

// replayed is what a log says, read from its beginning to its end.
type replayed struct {
	records int
	open    map[txlog.Ref]*unfinished
}

// replay reads the whole log. What it says becomes the coordinator's truth; the
// caller must not act on any of it before replay has returned.
func (c *Coordinator) replay() (*replayed, error) {
	r := &replayed{open: make(map[txlog.Ref]*unfinished)}
	err := c.log.Replay(func(e txlog.Entry) error {
		r.records++
		if err := c.read(r, e); err != nil {
			return fmt.Errorf("log at position %d: %w", e.Position, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// read takes in one record. Records that contradict each other were never
// written by this program: the log is refused rather than interpreted.
func (c *Coordinator) read(r *replayed, e txlog.Entry) error {
	switch rec := e.Record.(type) {
	case *txlog.Incarnation:
		c.history = append(c.history, protocol.Opening{Incarnation: rec.Incarnation, Through: rec.Through})
	case *txlog.Block:
		n := len(c.history)
		if n == 0 || c.history[n-1].Incarnation.Number != rec.Incarnation {
			return fmt.Errorf("a block of sequences for incarnation %d, which is not the current one", rec.Incarnation)
		}
		c.history[n-1].Through = rec.Through
	case *txlog.Prepare:
		if r.open[rec.Ref] != nil {
			return fmt.Errorf("transaction %s is prepared twice", rec.Ref)
		}
		c.logged.Add(rec.Ref)
		u := &unfinished{prepare: *rec, resolved: make([]Outcome, len(rec.Branches)), begun: e.Time}
		r.open[rec.Ref] = u
	case *txlog.Commit:
		u, err := r.undecided(rec.Ref)
		if err != nil {
			return err
		}
		if len(rec.Votes) != len(u.prepare.Branches) {
			return fmt.Errorf("transaction %s has %d branches and %d votes", rec.Ref, len(u.prepare.Branches), len(rec.Votes))
		}
		u.decision, u.votes, u.decided = Committed, rec.Votes, e.Time
	case *txlog.Abort:
		u, err := r.undecided(rec.Ref)
		if err != nil {
			return err
		}
		u.decision, u.reason, u.decided = RolledBack, rec.Reason, e.Time
	case *txlog.Resolution:
		u := r.open[rec.Ref]
		if u == nil {
			return nil // the branch was finished while the statement was written
		}
		if u.decision == OutcomeUnknown && !u.prepare.OnePhase {
			return fmt.Errorf("a statement about transaction %s, which is not decided", rec.Ref)
		}
		for i, b := range u.prepare.Branches {
			if b.Participant == rec.Participant {
				u.resolve(i, rec.Outcome)
			}
		}
	case *txlog.End:
		u := r.open[rec.Ref]
		if u == nil {
			return fmt.Errorf("the end of transaction %s, which is not open", rec.Ref)
		}
		delete(r.open, rec.Ref)
		if canary.On(canary.RememberAbortsOnly) && rec.Outcome == Committed || rec.Outcome == OutcomeUnknown {
			return nil
		}
		c.past.add(txlog.KeyOf(u.prepare.TxID), remembered{
			outcome: rec.Outcome, code: u.reason.Code, fingerprint: u.prepare.Fingerprint,
			ref: rec.Ref, at: e.Time.UnixNano(),
		})
	case *txlog.Logged:
		for _, run := range rec.Runs {
			c.logged.AddRun(rec.Incarnation, run)
		}
	case *txlog.Horizon:
		c.past.dropped = max(c.past.dropped, rec.At.UnixNano())
	case *txlog.Outcome:
		c.past.add(rec.Key, remembered{
			outcome: rec.Outcome, code: rec.Code, fingerprint: rec.Fingerprint,
			ref: rec.Ref, at: rec.At.UnixNano(),
		})
	case *txlog.Hold:
		c.hold.Store(c.hold.Load().with(rec.Through, e.Time, rec.Reason))
	case *txlog.Release:
		c.hold.Store(c.hold.Load().ended())
	default:
		return fmt.Errorf("a record of kind %s, which this program does not know", e.Record.Kind())
	}
	return nil
}

// resolve takes in a statement about a branch: the last one counts, but the first one
// that has decided a transaction in one phase.
func (u *unfinished) resolve(i int, o Outcome) {
	if !u.prepare.OnePhase || u.resolved[i] == OutcomeUnknown {
		u.resolved[i] = o
	}
}

func (r *replayed) undecided(ref txlog.Ref) (*unfinished, error) {
	u := r.open[ref]
	if u == nil {
		return nil, fmt.Errorf("a decision about transaction %s, which is not open", ref)
	}
	if u.decision != OutcomeUnknown {
		return nil, fmt.Errorf("a second decision about transaction %s", ref)
	}
	return u, nil
}

// recover puts what is unfinished into the live table and begins to finish it,
// on goroutines of its own: new work does not wait for it.
func (c *Coordinator) recover(r *replayed, began time.Time) {
	old := make([]*unfinished, 0, len(r.open))
	for _, u := range r.open {
		old = append(old, u)
	}
	slices.SortFunc(old, func(a, b *unfinished) int {
		return cmp.Or(cmp.Compare(a.prepare.Ref.Incarnation, b.prepare.Ref.Incarnation),
			cmp.Compare(a.prepare.Ref.Seq, b.prepare.Ref.Seq))
	})
	incarnations := make(map[uint32]Incarnation, len(c.history))
	for _, o := range c.history {
		incarnations[o.Incarnation.Number] = o.Incarnation
	}
	live := make([]*txn, 0, len(old))
	type waits struct {
		participant  string
		transactions int
	}
	var waiting []waits
	c.mu.Lock()
	for _, u := range old {
		x := XID{Log: c.log.ID(), Incarnation: incarnations[u.prepare.Ref.Incarnation], Seq: u.prepare.Ref.Seq}
		live = append(live, c.revive(u, x))
	}
	c.eachLane(func(l *lane) {
		l.setLowWater()
		c.startSweep(l)
		if !l.registered() {
			waiting = append(waiting, waits{l.id, l.unfinished.len()})
		}
	})
	c.mu.Unlock()
	for _, w := range waiting {
		c.cfg.Logger.Warn("transactions wait for a participant that is not registered",
			"participant", w.participant, "transactions", w.transactions)
	}
	failpoint.Hit(failpoint.RecoverRevived)
	if f := c.cfg.Trace.Recovered; f != nil {
		f(r.records, len(live), time.Since(began))
	}
	if len(live) > 0 {
		c.cfg.Logger.Info("finishing transactions that an earlier process left unfinished", "transactions", len(live))
	}
	c.wg.Go(func() {
		for _, t := range live {
			if c.ctx.Err() != nil {
				return
			}
			if c.reach(t) {
				failpoint.Hit(failpoint.RecoverNext)
				t.handle(protocol.Recovered{})
				failpoint.Hit(failpoint.RecoverResent)
			}
		}
	})
}

// revive registers a transaction of an earlier incarnation. The caller holds
// c.mu.
func (c *Coordinator) revive(u *unfinished, x XID) *txn {
	t := &txn{
		c: c, id: TxID(u.prepare.TxID), key: txlog.KeyOf(u.prepare.TxID), xid: x, fingerprint: u.prepare.Fingerprint,
		started: u.begun, decidedAt: u.decided, recovered: true, waits: true, ctx: c.ctx, reason: u.reason,
	}
	found := protocol.Found{OnePhase: u.prepare.OnePhase, Decision: u.decision, Votes: u.votes, Why: u.reason.Code, Resolved: u.resolved}
	for _, b := range u.prepare.Branches {
		found.Plain = append(found.Plain, b.Plain)
	}
	t.m = protocol.Recover(found)
	t.undecided = t.m.Decision() == OutcomeUnknown
	t.presumed = t.undecided || u.decision == RolledBack && u.reason.Code == ReasonRecovered
	for i, b := range u.prepare.Branches {
		br := &branchRun{tx: t, lane: c.lane(b.Participant), index: i}
		t.branches = append(t.branches, br)
		c.linkBranch(br)
	}
	t.hash = c.past.byKey.hash(&t.key)
	if t.undecided && c.hold.Load().covers(x.Incarnation.Number) && !canary.On(canary.RecoverUnderHold) {
		t.park() // before anybody can ask
		t.parking = true
		c.parked = append(c.parked, t)
	}
	c.live.add(t)
	return t
}
