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
	if !x.IsZero() {
		t = k.byXID[x]
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
	case NoAnswer, Conflict, Refused, NotKnown, Unfinished, Heuristic:
	}
}

// hears checks an answer, to a call that began then, against what was heard of the id
// before.
func (k *knowledge) hears(j *job, a Answer, began time.Duration) {
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
		i.told, i.toldAt, i.toldOf, i.forgotten = dtc.Committed, w.now(), last, false
	case RolledBack:
		c.RolledBack++
		if remembers && i.told == dtc.Committed && (!i.forgotten || last.writes()) {
			w.violation("I4", "%s was told committed, and now rolled back", i.id)
		}
		i.told, i.toldAt, i.toldOf, i.forgotten = dtc.RolledBack, w.now(), last, false
	case NotKnown, Unfinished:
		before := i.toldAt < began // what was heard meanwhile says nothing
		if remembers && before && (i.told == dtc.Committed && i.toldOf.writes() || i.told == dtc.RolledBack && !i.forgotten) {
			w.violation("I10", "%s was told %s, and is now %s", i.id, i.told, answerNames[a])
		}
	case Heuristic:
		w.violation("I17", "%s is heuristic, and nobody broke a promise", i.id)
	case NoAnswer, Conflict, Refused:
	}
}
