package sim

import (
	"context"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// ask lets a participant ask what became of one of its branches, now and then. It
// does not act on the answer; the answer must be true for ever.
func (w *world) ask() {
	w.post(nil, "a participant wonders", span{0, 2 * time.Second}, w.ask)
	k := w.know
	if !w.serving() {
		return
	}
	k.mu.Lock()
	if len(k.order) == 0 {
		k.mu.Unlock()
		return
	}
	t := k.order[len(k.order)-1-w.rng.IntN(min(8, len(k.order)))]
	k.mu.Unlock()
	p := w.anybody()
	d, err := w.proc.c.Decision(t.xid, p.id)
	w.trace("  ", p.id, " asks about ", short(t.xid), " and hears ", d.String())
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		w.violation("I5", "a question about %s at %s fails: %v", short(t.xid), p.id, err)
	case d == dtc.DecidedCommit:
		k.hearsCommit(p.id, t)
		t.committed = true
		k.mustBeDurable(w.proc, t)
	case d == dtc.DecidedRollback && t.phase.once:
		// Who holds nothing prepared has no reason to ask.
	case d == dtc.DecidedRollback:
		if t.committed && t.writes() {
			w.violation("I5", "%s asks about %s, which was committed, and hears rollback", p.id, short(t.xid))
		}
		t.presumed = true
	}
}

// hearsCommit checks that somebody may hear "commit" who asks. The caller holds k.mu.
func (k *knowledge) hearsCommit(who string, t *tx) {
	if (t.rolled || t.presumed) && !t.resolved && !k.settledAgain(t) {
		k.w.violation("I5", "%s asks about %s, which was rolled back, and hears commit", who, short(t.xid))
	}
}

// plant leaves a branch of another log at each participant that lists: nobody may
// touch it.
func (w *world) plant() {
	for i, p := range w.parties {
		if !p.listing {
			continue
		}
		p.foreign = dtc.XID{
			Log: dtc.LogID{1, byte(i)}, Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Seq: uint64(i) + 1,
		}
		vote, err := p.server.Prepare(context.Background(), dtc.Branch{Participant: p.id, XID: p.foreign, TxID: "foreign"})
		if vote != dtc.VoteCommit || err != nil {
			w.violation("world", "%s does not take a branch of another log: %v, %v", p.id, vote, err)
		}
	}
}

// untouched checks what was planted.
func (w *world) untouched() {
	for _, p := range w.parties {
		if s := p.state(p.foreign); p.listing && s != dtctest.Prepared {
			w.violation("I14", "the branch of another log at %s is %q", p.id, s)
		}
	}
}

// holds returns what a participant holds in doubt and somebody must finish.
func (w *world) holds(p *party) (list []dtc.XID) {
	for _, x := range p.prepared() {
		if t := w.know.byXID[x]; x != p.foreign && (t == nil || !t.resolved) {
			list = append(list, x)
		}
	}
	return list
}

// reregister takes a participant out of the configuration, and puts it back later.
func (w *world) reregister() {
	p, q := w.proc, w.anybody()
	if !w.serving() {
		return
	}
	w.trace("  TAKEN OUT: ", q.id)
	if err := p.c.Unregister(q.id); err != nil {
		return // it is out already
	}
	w.post(p.life, q.id+" is put back", span{time.Millisecond, 10 * time.Second}, func() {
		if err := p.c.Register(q.seenBy(p)); err != nil {
			w.trace("  not put back: ", err.Error())
		}
	})
}

// operate lets an operator state how a branch ended, true or not. From then on the
// transaction promises nothing.
func (w *world) operate(tries int) {
	if !w.serving() || w.operating {
		return
	}
	p := w.proc
	for info := range p.c.Transactions(dtc.Filter{}) {
		doubt := w.inDoubt(&info)
		if info.State != "committing" && info.State != "rolling_back" && !doubt || info.TxID == "" {
			continue
		}
		b := info.Branches[w.rng.IntN(len(info.Branches))]
		o := [...]dtc.Outcome{dtc.Committed, dtc.RolledBack}[w.rng.IntN(2)]
		w.trace("  OPERATOR: ", short(info.XID), " is ", o.String(), " at ", b.Participant)
		k := w.know
		k.mu.Lock()
		t := k.tx(info.XID, info.TxID)
		before := t.resolved
		t.resolved = true
		k.mu.Unlock()
		w.operating = true // one at a time: they wait for each other
		began := w.now()
		w.goes(func() {
			err := p.c.Resolve(context.Background(), info.TxID, b.Participant, o, "by hand")
			if err != nil {
				w.note("not resolved: " + err.Error())
			}
			if doubt {
				w.says(p, t, o, err, before, began)
			}
			w.post(nil, "the operator is done", instant, func() { w.operating = false })
		})
		return
	}
	if tries > 0 {
		w.within(60, func() { w.operate(tries - 1) })
	}
}

// crowded checks that a transaction that has begun had room.
func (k *knowledge) crowded(p *process) {
	if p.c == nil {
		return
	}
	if n := p.c.Stats().Unfinished; n > k.w.plan.most {
		k.w.violation("I18", "%d transactions are unfinished, and one more began", n)
	}
}
