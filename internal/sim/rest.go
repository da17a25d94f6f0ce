package sim

import (
	"strings"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// settle checks that the world comes to rest once nothing goes wrong any more, and
// that it is in order then.
func (w *world) settle() {
	if !w.run(w.now()+healTime, func() bool { return w.worked() && w.serving() }) {
		if !w.broken() {
			w.violation("L1", "after %v without a fault clients still wait, or nobody serves them", healTime)
		}
		return
	}
	if w.away != nil {
		if !w.rests("L3") {
			return
		}
		w.trace("  ", w.away.id, " is back")
		w.away.cutTo, w.away.cutFrom, w.away = 0, 0, nil
	}
	if !w.rests("L1") {
		return
	}
	// What is still under way arrives at last.
	w.hurry()
	now := w.now()
	w.run(now+6*time.Second, func() bool { return false })
	if !w.rests("L2") {
		return
	}
	w.inOrder()
	w.untouched()
	w.small(w.proc.disk)
	w.again()
}

func (w *world) serving() bool {
	p := w.proc
	return p.c != nil && !p.dead.Load() && !p.closing && p.c.Err() == nil
}

// bound is how long the world may take to come to rest: a back-off, a sweep, and
// what calls take, twice.
func (w *world) bound() time.Duration {
	s := &w.plan
	return 2*(s.finishCap+s.sweep+11*time.Second) + s.prepareLimit + s.lifetime + 40*time.Second
}

// rests waits until nothing is unfinished.
func (w *world) rests(name string) bool {
	limit := w.now() + w.bound()
	for w.now() < limit && !w.broken() {
		w.run(w.now()+200*time.Millisecond, func() bool { return false })
		if w.atRest() {
			return true
		}
	}
	if w.broken() {
		return false
	}
	why := "the coordinator is gone"
	if w.serving() {
		why = "the coordinator knows nothing unfinished"
		for info := range w.proc.c.Transactions(dtc.Filter{}) {
			why = short(info.XID) + " is " + info.State
			for _, b := range info.Branches {
				why += ", " + b.Participant + " " + b.State + " (" + b.LastError + ")"
			}
		}
	}
	for _, p := range w.parties {
		for _, x := range w.holds(p) {
			why += "; " + p.id + " holds " + short(x)
		}
	}
	w.violation(name, "no rest after %v: %s", w.bound(), why)
	return false
}

func (w *world) atRest() bool {
	switch {
	case !w.serving() || w.executing.Load() > 0:
		return false
	case w.away != nil:
		return w.waitsForOne()
	case w.proc.c.Stats().Unfinished > 0:
		return false
	}
	for _, p := range w.parties {
		if len(w.holds(p)) > 0 {
			return false
		}
	}
	return true
}

// waitsForOne reports whether every branch that is unfinished is one of the
// participant that stays away.
func (w *world) waitsForOne() bool {
	for _, p := range w.parties {
		if p == w.away {
			continue
		}
		for range w.proc.c.Transactions(dtc.Filter{Participant: p.id}) {
			return false // it has an unfinished branch there
		}
		if len(w.holds(p)) > 0 {
			return false
		}
	}
	return true
}

// hurry lets late messages arrive within seconds.
func (w *world) hurry() {
	late := w.now() + 5*time.Second
	for _, e := range w.waiting {
		if e.at > late && strings.Contains(e.label, " arrives") {
			e.at = w.now() + w.draw(span{0, 5 * time.Second})
		}
	}
	w.sort()
}

// inOrder checks that each transaction is committed everywhere or nowhere, and that
// what was told is true.
func (w *world) inOrder() {
	k := w.know
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.order {
		committed, undone := "", ""
		for _, b := range t.branches {
			k.look(t, b)
			switch {
			case t.resolved:
			case b.state == dtctest.Prepared:
				w.violation("L2", "%s is left prepared at %s", short(t.xid), b.party.id)
			case b.committed:
				committed = b.party.id
			case b.undone || b.prepared:
				undone = b.party.id
			}
		}
		switch {
		case t.resolved:
		case committed != "" && undone != "":
			w.violation("I1", "%s is committed at %s and not at %s", short(t.xid), committed, undone)
		case t.phase.once && w.plan.faults&Forgets != 0:
			// Settled again when its row was gone, it has found a later run of its id.
		case t.committed && undone != "":
			w.violation("I1", "%s was told committed, and %s has not committed it", short(t.xid), undone)
		case t.rolled && committed != "":
			w.violation("I1", "%s was told rolled back, and %s has committed it", short(t.xid), committed)
		}
	}
	for _, t := range k.order {
		k.proven(t)
	}
	for _, p := range w.parties {
		if p.books != nil {
			p.books.tokens(k)
		}
	}
	for _, i := range k.byID {
		w.once(i)
	}
}

// once checks that an id was carried out once at most.
func (w *world) once(i *identity) {
	var done []*tx
	for _, t := range i.txs {
		if t.resolved {
			return
		}
		for _, b := range t.branches {
			if b.committed {
				done = append(done, t)
				break
			}
		}
	}
	n := len(done)
	if n > 1 && i.once() && w.plan.faults&Forgets == 0 {
		w.know.onceMany(i, done)
	} else if n > 1 && w.plan.faults&Forgets == 0 {
		w.violation("I7", "%s was carried out %d times", i.id, n)
	}
	if n == 0 && i.told == dtc.Committed && i.forced && w.plan.faults&Forgets == 0 {
		w.violation("told", "%s was told committed, and never carried out", i.id)
	}
}

// small checks that the log is no longer than what must be kept of it: the segments
// that no checkpoint is worth while for yet, and those of openings that wrote little.
func (w *world) small(disk *vfs.Mem) {
	segments := 0
	for _, path := range disk.Files() {
		if strings.HasSuffix(path, ".seg") {
			segments++
		}
	}
	if segments > mostSegments {
		w.violation("L2", "at rest the log has %d segments: %v", segments, disk.Files())
	}
}

const mostSegments = 9

// again closes the coordinator and opens it once more: what it says of each id must
// not change.
func (w *world) again() {
	w.restart()
	first := w.proc
	if !w.run(w.now()+healTime, func() bool { return w.proc != first && w.serving() }) {
		if !w.broken() {
			w.violation("L1", "closed in order, it does not open again")
		}
		return
	}
	for _, c := range w.clients {
		c.done = true
	}
	asker := &client{w: w, n: len(w.clients), name: "the asker"}
	for _, i := range w.know.ids() {
		asker.jobs = append(asker.jobs, &job{kind: OpOutcome, id: i, tries: 3})
		if w.plan.faults&OnePhases != 0 {
			asker.jobs = append(asker.jobs, &job{kind: OpProve, id: i, tries: 3})
		}
	}
	w.clients = append(w.clients, asker)
	w.goes(asker.work)
	if !w.run(w.now()+healTime, w.worked) && !w.broken() {
		w.violation("L1", "questions are not answered")
	}
}
