package sim

import (
	"time"

	"github.com/dtc-project/dtc"
)

// latest returns the transaction of an id that began last, or nil.
func (i *identity) latest() *tx {
	if len(i.txs) == 0 {
		return nil
	}
	return i.txs[len(i.txs)-1]
}

// tells checks an answer in the moment in which it leaves the coordinator.
func (k *knowledge) tells(p *process, j *job, a Answer, x dtc.XID) {
	if p.dead.Load() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.identity(j.id).latest()
	switch {
	case !x.IsZero():
		t = k.byXID[x]
	case k.w.plan.faults&Forgets != 0:
		return // it may be that of an earlier run of the id, remembered again after a crash
	}
	if t == nil {
		if a == Committed || a == RolledBack {
			k.w.violation("I4", "%s is told %s, and never began", j.id, answerNames[a])
		}
		return
	}
	switch a {
	case Committed:
		k.decided(p, t, dtc.Committed)
	case RolledBack:
		k.decided(p, t, dtc.RolledBack)
	case NoAnswer, Conflict, Refused, LogFailed, NotKnown, Unfinished, Heuristic:
	}
}

// hears checks an answer against what was heard of the id before.
func (k *knowledge) hears(j *job, a Answer, called time.Duration) {
	w := k.w
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.identity(j.id)
	c := &w.result.Counts
	remembers := w.plan.faults&Forgets == 0
	resolved := false
	for _, t := range i.txs {
		resolved = resolved || t.resolved
	}
	if resolved {
		return
	}
	last := i.latest()
	switch a {
	case Committed:
		c.Committed++
		if w.faulty > 0 {
			c.ToldUnderFault++
		}
		if remembers && i.told == dtc.RolledBack && !i.forgotten && last.writes() {
			w.violation("I4", "%s was told rolled back, and now committed", i.id)
		}
		if j.kind == OpProve {
			return // a participant remembers it, and not the coordinator
		}
		i.told, i.forgotten, i.toldAt, i.forced = dtc.Committed, false, w.now(), last.writes() && !last.phase.once
	case RolledBack:
		c.RolledBack++
		// What only read is committed with nothing forced. After a crash its id may run
		// anew, as another transaction, and be rolled back, whatever that one wrote: it
		// is the one that was told committed that must have forced something.
		if remembers && i.told == dtc.Committed && (!i.forgotten || i.forced) {
			w.violation("I4", "%s was told committed, and now rolled back", i.id)
		}
		i.told, i.forgotten, i.toldAt = dtc.RolledBack, false, w.now()
	case NotKnown, Unfinished:
		// Who asked before that may have been answered before it, and hears it now.
		if remembers && called > i.toldAt && (i.told == dtc.Committed && i.forced || i.told == dtc.RolledBack && !i.forgotten) {
			w.violation("I10", "%s was told %s, and is now %s", i.id, i.told, answerNames[a])
		}
	case Heuristic:
		w.violation("I17", "%s is heuristic, and nobody broke a promise", i.id)
	case NoAnswer, Conflict, Refused, LogFailed:
	}
}
