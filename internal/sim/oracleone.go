package sim

import (
	"slices"
	"strings"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// phase is what is known of a transaction in one phase.
type phase struct {
	once    bool        // it was to be committed so, or settled
	request [16]byte    // the fingerprint of its branch; zero: none was told
	party   *party      // and whose that is
	stated  dtc.Outcome // what an operator said, and the log took
}

// same reports whether two transactions of an id were one request, by the rule of
// [dtc.OnePhaser]: they differ if both have a fingerprint and these differ.
func (p *phase) same(other *phase) bool {
	var none [16]byte
	return p.party == other.party && (p.request == other.request || p.request == none || other.request == none)
}

// once reports whether any transaction of the id was one in one phase.
func (i *identity) once() bool {
	for _, t := range i.txs {
		if t.phase.once {
			return true
		}
	}
	return false
}

// leavesOnce checks a call of one phase that leaves the process. The caller holds k.mu.
func (k *knowledge) leavesOnce(t *tx, c *call) {
	t.phase.once, t.phase.party = true, c.to
	if c.verb == verbSettle {
		k.w.result.Counts.Settles++
	}
	t.phase.request = c.branch.Fingerprint
	if len(t.branches) > 1 {
		k.w.violation("I1", "%s of %s, which has %d branches, leaves for %s", c.verb, short(t.xid), len(t.branches), c.to.id)
	}
	if c.verb == verbOnce && !c.stale && t.rolled && !t.resolved {
		k.w.violation("I2", "%s is rolled back, and is sent to %s in one phase", short(t.xid), c.to.id)
	}
}

// proof returns the transaction that the evidence of t's id names, or nil. The caller
// holds k.mu.
func (k *knowledge) proof(t *tx) *tx {
	if t.phase.party == nil {
		return nil
	}
	return k.byXID[t.phase.party.once.proof(t.xid.Log, t.id.id)]
}

// decidedOnce checks the outcome of a transaction in one phase against the evidence, in
// the moment in which it may be told. The caller holds k.mu.
func (k *knowledge) decidedOnce(t *tx, o dtc.Outcome) {
	if k.w.plan.faults&Forgets != 0 && t.phase.party.once.dropped {
		return
	}
	e := k.proof(t)
	switch {
	case o == dtc.Committed && e == nil:
		k.w.violation("I3", "%s is told committed in one phase, and %s has no evidence", short(t.xid), t.phase.party.id)
	case o == dtc.RolledBack && e == t:
		k.w.violation("I4", "%s is told rolled back, and %s has committed it in one phase", short(t.xid), t.phase.party.id)
	case o == dtc.RolledBack && e != nil && e.phase.same(&t.phase) && !k.remembersMore(t, e):
		k.w.violation("I4", "%s is told rolled back, and %s has committed the same as %s", short(t.xid), t.phase.party.id, short(e.xid))
	}
}

// ranAgain reports whether e is a later run of t's id, begun when t had been told rolled back
// and was forgotten. The caller holds k.mu.
func (k *knowledge) ranAgain(t, e *tx) bool {
	return k.w.plan.faults&Forgets != 0 && t.rolled && e.xid.Compare(t.xid) > 0
}

// remembersMore reports whether t may be told rolled back once more although e has committed
// the same since: [dtc.Config] says that beyond OutcomeLimit a restart may remember more than the
// process before it, and it is true of t. When t is told rolled back for the first time, and
// when fewer have begun, there must be no such evidence. The caller holds k.mu.
func (k *knowledge) remembersMore(t, e *tx) bool {
	return k.ranAgain(t, e) && len(k.order) > k.w.plan.limit
}

// settledAgain reports whether t, which was told rolled back, may become committed: its end was
// lost, so that it was settled once more, and the outcome is that of the id ([dtc.OnePhaser]),
// which was forgotten, ran again and committed the same. Nobody acts on it: no branch of t
// was ever prepared. The caller holds k.mu.
func (k *knowledge) settledAgain(t *tx) bool {
	return t.phase.once && !t.writes() && slices.ContainsFunc(t.id.txs, func(e *tx) bool {
		return k.ranAgain(t, e) && e.phase.once && e.phase.same(&t.phase) &&
			slices.ContainsFunc(e.branches, func(b *branch) bool { return b.committed || b.readOnly })
	})
}

// stated checks that an operator's word about a transaction in one phase is its outcome.
// The caller holds k.mu.
func (k *knowledge) stated(t *tx, o dtc.Outcome) {
	if s := t.phase.stated; s != dtc.OutcomeUnknown && s != o && k.w.plan.faults&Forgets == 0 {
		k.w.violation("operator", "an operator has said that %s is %s, and it is told %s", short(t.xid), s, o)
	}
}

// servedOnce looks at what a participant has answered. The caller holds k.mu.
func (k *knowledge) servedOnce(b *branch, c *call, rep reply) {
	if c.verb == verbSettle && rep.err == nil && rep.outcome == dtc.RolledBack {
		b.undone = true
	}
}

// stands notes what a branch did about which an operator has said something. How that
// transaction ends is nobody's promise any more, but the participant's promises are as
// before ([dtc.OnePhaser]): a call that was under way when he said it may still commit, and
// leaves the evidence, which then answers for every other run of the id. So that evidence
// is no forgery, and the id has no second effect. The caller holds k.mu.
func (k *knowledge) stands(t *tx, b *branch, now dtctest.State) {
	switch {
	case now == dtctest.ReadOnly:
		b.readOnly = true
	case now == dtctest.Committed && !b.committed:
		b.committed = true
		k.tookEffect(t, b)
	}
}

// tookEffect checks a branch that was committed just now: its id has had no effect at
// the participant, if either was in one phase, and nobody has been told that a later
// run of the same was rolled back. The caller holds k.mu.
func (k *knowledge) tookEffect(t *tx, b *branch) {
	if k.w.plan.faults&Forgets != 0 || t.id.id == "" {
		return
	}
	for _, other := range t.id.txs {
		if other == t || !t.phase.once && !other.phase.once {
			continue
		}
		if t.resolved && (!t.phase.once || !other.phase.once) {
			continue // it was not settled, and two phases leave no evidence that would stop it
		}
		for _, ob := range other.branches {
			if ob.party == b.party && ob.committed {
				k.w.violation("I7", "%s of %s takes effect at %s, and so has %s", short(t.xid), t.id.id, b.party.id, short(other.xid))
			}
		}
		if t.phase.once && !t.resolved && other.rolled && !other.resolved &&
			other.phase.same(&t.phase) && other.xid.Compare(t.xid) > 0 {
			k.w.violation("I8", "%s takes effect at %s after %s of the same id was told rolled back", short(t.xid), b.party.id, short(other.xid))
		}
	}
}

// onceMany checks what an id has done that was carried out by several transactions: only
// a record that nobody forced makes that possible, the participants are not the same, and a
// later one was another request. The caller holds k.mu.
func (k *knowledge) onceMany(i *identity, done []*tx) {
	var names []string
	for n, t := range done {
		names = append(names, short(t.xid))
		if n == len(done)-1 {
			break
		}
		next := done[n+1]
		if !t.phase.once || t.xid.Incarnation == next.xid.Incarnation || next.phase.party == t.phase.party {
			k.w.violation("I7", "%s was carried out %d times: %s", i.id, len(done), strings.Join(append(names, short(next.xid)), ", "))
		}
	}
}

// proven checks at the end that the evidence of what was told committed is there, and
// is one of something that happened.
func (k *knowledge) proven(t *tx) {
	if !t.phase.once || t.resolved || !t.committed || t.phase.party.once.dropped {
		return
	}
	e := k.proof(t)
	switch {
	case e == nil:
		k.w.violation("told", "%s was told committed in one phase, and the evidence is gone", short(t.xid))
	case e.id != t.id || !e.branch(t.phase.party).committed && e.branch(t.phase.party).state != dtctest.ReadOnly && !e.branch(t.phase.party).readOnly:
		k.w.violation("told", "the evidence for %s is that of %s, which did nothing", short(t.xid), short(e.xid))
	}
}
