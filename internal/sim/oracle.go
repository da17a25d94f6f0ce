package sim

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/vfs"
)

// knowledge is what the world knows of the transactions, better than anybody in it.
type knowledge struct {
	w  *world
	mu sync.Mutex

	byXID map[dtc.XID]*tx
	order []*tx
	byID  map[dtc.TxID]*identity
	made  map[dtc.XID]bool // XIDs that were given out
}

// identity is what is known of an id.
type identity struct {
	id  dtc.TxID
	txs []*tx // in the order in which they began
	// told is the last that a client heard, and when the crash came that may have
	// taken a rollback from memory.
	told      dtc.Outcome
	forgotten bool // a crash since then
	toldAt    time.Duration
	forced    bool // the last that was told committed wrote something
}

// tx is what is known of a transaction.
type tx struct {
	xid       dtc.XID
	id        *identity
	branches  []*branch
	committed bool // told, or a commit left
	durable   bool // its decision was once found on the disk
	rolled    bool // told
	presumed  bool // somebody who asked was told that it is rolled back
	resolved  bool // an operator has stated something about it
	phase     phase
}

// branch is what is known of a branch.
type branch struct {
	party                       *party
	state                       dtctest.State
	prepared, committed, undone bool // ever
	refusing                    bool // a rollback was acknowledged
	readOnly                    bool
	since                       time.Duration // it has been prepared
}

func newKnowledge(w *world) *knowledge {
	return &knowledge{w: w, byXID: map[dtc.XID]*tx{}, byID: map[dtc.TxID]*identity{}, made: map[dtc.XID]bool{}}
}

func (k *knowledge) identity(id dtc.TxID) *identity {
	i := k.byID[id]
	if i == nil {
		i = &identity{id: id}
		k.byID[id] = i
	}
	return i
}

func (k *knowledge) tx(x dtc.XID, id dtc.TxID) *tx {
	t := k.byXID[x]
	if t == nil {
		t = &tx{xid: x, id: k.identity(id)}
		k.byXID[x] = t
		k.order = append(k.order, t)
		if id != "" {
			t.id.txs = append(t.id.txs, t)
		}
	}
	return t
}

func (t *tx) branch(p *party) *branch {
	for _, b := range t.branches {
		if b.party == p {
			return b
		}
	}
	b := &branch{party: p}
	t.branches = append(t.branches, b)
	return b
}

// watch makes the trace of a process.
func (k *knowledge) watch(p *process) *dtc.Trace {
	w := k.w
	return &dtc.Trace{
		Begun: func(t dtc.TraceTx) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.made[t.XID] {
				w.violation("I15", "%s was given out twice", t.XID)
			}
			k.made[t.XID] = true
			k.tx(t.XID, t.TxID)
			k.crowded(p)
			w.result.Counts.Transactions++
			w.note(p.name + " begins " + short(t.XID) + " for " + string(t.TxID))
		},
		Appended: func(t dtc.TraceTx, record string) {
			if p.dead.Load() {
				return
			}
			k.mu.Lock()
			w.result.Counts.Appends++
			k.mu.Unlock()
			w.note(p.name + " appends " + record + " of " + short(t.XID))
			if record == "one_phase" {
				k.mu.Lock()
				w.result.Counts.OnePhases++
				k.mu.Unlock()
			}
		},
		Forced: func(t dtc.TraceTx, record string, _ time.Duration, err error) {
			if err == nil && !p.dead.Load() {
				w.note(p.name + " has forced " + record + " of " + short(t.XID))
			}
		},
		Decided: func(t dtc.TraceTx, o dtc.Outcome, r dtc.Reason) {
			if p.dead.Load() {
				return
			}
			w.note(p.name + " decided " + short(t.XID) + " " + o.String() + " " + r.Code.String())
			k.mu.Lock()
			defer k.mu.Unlock()
			known := k.tx(t.XID, t.TxID)
			k.decided(p, known, o)
		},
		Resolved: func(t dtc.TraceTx, participant string, o dtc.Outcome) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.tx(t.XID, t.TxID).resolved = true
		},
	}
}

// decided checks a decision that may be told. The caller holds k.mu.
func (k *knowledge) decided(p *process, t *tx, o dtc.Outcome) {
	k.stated(t, o)
	if t.resolved {
		return
	}
	if t.phase.once {
		k.decidedOnce(t, o)
	}
	switch o {
	case dtc.Committed:
		if t.presumed && t.writes() {
			k.w.violation("I5", "%s was presumed rolled back, and now commits", short(t.xid))
		}
		if t.rolled && t.writes() {
			k.w.violation("I4", "%s was rolled back, and now commits", short(t.xid))
		}
		t.committed = true
		k.mustBeDurable(p, t)
	case dtc.RolledBack:
		if t.committed && t.writes() {
			k.w.violation("I4", "%s was committed, and is now rolled back", short(t.xid))
		}
		t.rolled = true
	case dtc.OutcomeUnknown, dtc.Heuristic:
	}
}

// writes reports whether any participant has ever held something.
func (t *tx) writes() bool {
	for _, b := range t.branches {
		if b.prepared || b.committed {
			return true
		}
	}
	return false
}

// mustBeDurable checks I3: after a power loss now, the decision still stands. The
// exception is a decision that was seen on the disk before, and that a checkpoint has
// left out since because few outcomes are kept, or for a short time: a process that had
// read it before it wrote the checkpoint knows it still, and what it says is true. The
// log must say that it has held the transaction, so that nobody presumes a rollback
// when that process is gone, and no branch may still need the decision.
func (k *knowledge) mustBeDurable(p *process, t *tx) {
	if p.durable[t.xid] || !t.writes() || t.phase.once {
		return // the participant keeps it: see [knowledge.decidedOnce]
	}
	p.durable[t.xid] = true
	found, err := decides(p.disk, t.xid)
	switch {
	case err != nil:
	case found.decision:
		t.durable = true
		return
	case found.forgotten && t.durable && t.finished() && k.w.plan.faults&Forgets != 0:
		return
	default:
		err = errors.New("the log does not have it")
	}
	k.w.violation("I3", "%s is told committed, and its decision is not durable: %v", short(t.xid), err)
}

// finished reports whether no participant holds anything of a transaction.
func (t *tx) finished() bool {
	return !slices.ContainsFunc(t.branches, func(b *branch) bool { return b.party.state(t.xid) == dtctest.Prepared })
}

// found is what a log says of a transaction that was committed.
type found struct {
	decision  bool // it is there
	forgotten bool // it is not, but that of a transaction that has ended and was dropped
}

// decides returns what the log on the disk says, should the power go now and nothing
// unsynced be kept.
func decides(disk *vfs.Mem, x dtc.XID) (found, error) {
	image := disk.CrashWith(func(int, int) int { return 0 })
	var f found
	var ended, open, dropped bool
	_, err := logcheck.Check(logDir, logcheck.Over[vfs.File](image), func(e logcheck.Entry) error {
		r := e.Record
		switch {
		case r.Kind == logcheck.Horizon:
			dropped = true
		case r.Number != x.Incarnation.Number:
		case r.Kind == logcheck.Logged:
			ended = ended || slices.ContainsFunc(r.Runs, func(run logcheck.Run) bool { return run.First <= x.Seq && x.Seq <= run.Last })
		case r.Seq != x.Seq:
		case r.Kind == logcheck.Commit, r.Kind == logcheck.Outcome:
			f.decision = true
		case r.Kind == logcheck.Prepare:
			open = true
		}
		return nil
	})
	f.forgotten = ended && dropped && !open && !f.decision
	return f, err
}

// leaves checks a message that leaves the process.
func (w *world) leaves(c *call) {
	if c.verb == verbList || c.verb == verbProve {
		return
	}
	k := w.know
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.tx(c.branch.XID, c.branch.TxID)
	t.branch(c.to)
	k.lowWater(c)
	if c.verb == verbOnce || c.verb == verbSettle {
		k.leavesOnce(t, c)
	}
	if t.resolved {
		return
	}
	switch c.verb {
	case "commit":
		if t.rolled && t.writes() {
			w.violation("I4", "commit of %s, which was rolled back, leaves for %s", short(t.xid), c.to.id)
		}
		t.committed = true
		k.mustBeDurable(c.from, t)
	case "rollback":
		if t.committed && t.writes() {
			w.violation("I4", "rollback of %s, which was committed, leaves for %s", short(t.xid), c.to.id)
		}
	case "prepare":
		if t.committed {
			w.violation("I2", "prepare of %s, which is decided, leaves for %s", short(t.xid), c.to.id)
		}
	}
}

// lowWater checks that the low water of a message has not passed what its receiver
// has held prepared since before the sender was started: the sender must have found it
// in its log, or in a listing. A prepare that is only being carried out is in neither;
// it does no harm, since its row stands until a later sweep finds it. The caller holds
// k.mu.
func (k *knowledge) lowWater(c *call) {
	low := c.branch.LowWater
	if low.IsZero() || low.Log != c.branch.XID.Log {
		return
	}
	for _, t := range k.order {
		if t.resolved || t.xid.Log != low.Log || t.xid.Compare(low) >= 0 {
			continue
		}
		for _, b := range t.branches {
			if b.party == c.to && b.state == dtctest.Prepared && b.since < c.from.began {
				k.w.violation("I8", "low water %s passes %s, which %s holds prepared", short(low), short(t.xid), c.to.id)
			}
		}
	}
}

// served looks at a branch after a request was carried out.
func (k *knowledge) served(p *party, c *call, rep reply) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.tx(c.branch.XID, c.branch.TxID)
	b := t.branch(p)
	if c.verb == "prepare" && rep.err == nil && rep.vote == dtc.VoteReadOnly {
		b.readOnly = true
	}
	k.servedOnce(b, c, rep)
	k.look(t, b)
	if c.verb == "rollback" && rep.err == nil {
		b.refusing = true
	}
}

// glance looks at a branch in the moment in which a transaction of its database has
// taken effect.
func (k *knowledge) glance(p *party, b dtc.Branch) {
	if b.XID.IsZero() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.tx(b.XID, b.TxID)
	k.look(t, t.branch(p))
}

// survey looks at all branches of a participant, in the moment in which something took
// effect that belongs to no call any more. Otherwise a branch that was rolled back so
// would count as prepared until a call of it is served again, which need never come,
// and I8 would blame low water for having passed it. And one that was prepared so would
// count as prepared too late for I8 to blame anything.
func (k *knowledge) survey(p *party) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.order {
		for _, b := range t.branches {
			if b.party == p {
				k.look(t, b)
			}
		}
	}
}

// look checks the state of a branch against what it has ever been, and against its
// sisters. The caller holds k.mu.
func (k *knowledge) look(t *tx, b *branch) {
	w := k.w
	now := b.party.state(t.xid)
	if now == b.state {
		return
	}
	if t.resolved {
		k.stands(t, b, now)
		b.state = now
		return
	}
	where := short(t.xid) + " at " + b.party.id
	switch now {
	case dtctest.Prepared:
		switch {
		case b.committed:
			w.violation("I7", "%s is prepared after it was committed", where)
		case (b.undone || b.refusing) && !b.party.local: // that one is rolled back once more
			w.violation("I8", "%s is prepared after it was rolled back", where)
		}
		b.prepared, b.since = true, w.now()
	case dtctest.Committed:
		if b.undone && !b.party.local {
			w.violation("I7", "%s is committed after it was rolled back", where)
		}
		b.committed = true
		k.tookEffect(t, b)
	case dtctest.RolledBack, dtctest.Aborted:
		if b.committed {
			w.violation("I7", "%s is rolled back after it was committed", where)
		}
		b.undone = true
	case dtctest.ReadOnly:
		b.readOnly = true
	case dtctest.Unknown:
		if b.party.local {
			b.undone = b.prepared && !b.committed
			b.state = now
			return
		}
		if b.prepared && !b.committed && !b.undone {
			w.violation("I6", "%s has lost its vote", where)
		}
	}
	b.state = now
	k.atomic(t)
}

// atomic checks I1 and I2: once a branch is committed, none is or becomes anything
// but committed, about to be, or read-only.
func (k *knowledge) atomic(t *tx) {
	if t.resolved {
		return
	}
	committed := ""
	for _, b := range t.branches {
		if b.committed {
			committed = b.party.id
		}
	}
	if committed == "" {
		return
	}
	for _, b := range t.branches {
		switch {
		case b.committed || b.readOnly && !b.prepared:
		case b.undone:
			k.w.violation("I1", "%s is committed at %s and rolled back at %s", short(t.xid), committed, b.party.id)
		case !b.prepared:
			// Asked, and it never voted for it.
			k.w.violation("I2", "%s is committed at %s without the vote of %s", short(t.xid), committed, b.party.id)
		}
	}
}

// crashed notes that what nothing forced may be forgotten.
func (k *knowledge) crashed(bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, i := range k.byID {
		i.forgotten = true
	}
}

// reopened asks a new process what became of what was told.
func (k *knowledge) reopened(*dtc.Coordinator) {}

func (k *knowledge) String() string { return strconv.Itoa(len(k.order)) + " transactions" }

// ids returns every id that anybody asked for, sorted.
func (k *knowledge) ids() []dtc.TxID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.byID))
}
