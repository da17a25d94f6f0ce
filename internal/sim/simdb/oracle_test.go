package simdb_test

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// branch is what is known of one: first what stands in the database, then what was
// sent and heard.
type branch struct {
	seq     uint64
	payload string
	moods   uint64   // of a fickle one: a bit for each call of its function
	ends    []opKind // how it may end

	state   string
	applied int

	sentRollback bool
	votedCommit  bool // heard
	votedAbort   bool
	votedRead    bool
	rolledBack   bool // acknowledged
	committed    bool
}

// end is how a prepared branch is finished at last.
func (b *branch) end() opKind {
	switch {
	case b.committed:
		return opCommit
	case b.rolledBack:
		return opRollback
	}
	return b.ends[0]
}

// mood is what a fickle function does this time.
func (b *branch) mood() []byte {
	abort := b.moods&1 == 1
	b.moods >>= 1
	if abort {
		return []byte("abort")
	}
	return nil
}

// over reports whether a coordinator would have forgotten it.
func (b *branch) over() bool { return b.rolledBack || b.committed || b.votedAbort || b.votedRead }

// oracle knows what may be.
type oracle struct {
	r        *rand.Rand
	branches []*branch
	calls    []*op // under way
	lowWater uint64
	changes  uint64
	effects  int
	violated string
}

func newOracle(r *rand.Rand) *oracle {
	o := &oracle{r: r}
	for i := range 3 + r.IntN(4) {
		b := &branch{seq: uint64(i + 1)}
		b.payload = []string{"", "", "", "", "fickle", "abort", "error", "read-only"}[r.IntN(8)]
		b.moods = r.Uint64()
		b.ends = [][]opKind{{opCommit}, {opRollback}, {opCommit, opRollback}, {opRollback, opCommit}}[r.IntN(4)]
		o.branches = append(o.branches, b)
	}
	return o
}

func (o *oracle) fail(format string, args ...any) {
	if o.violated == "" {
		o.violated = fmt.Sprintf(format, args...)
	}
}

// next makes up a call. wild is a low water that says nothing about what is over.
func (o *oracle) next(wild bool) *op {
	c := &op{over: make(chan struct{}), prepared: map[*branch]bool{}, finished: map[*branch]bool{}}
	switch n := o.r.IntN(20); {
	case n < 8:
		c.kind = opPrepare
	case n < 17:
		c.kind = opCommit
	case n < 18:
		c.kind = opList
	default:
		c.kind = opPrune
	}
	if c.kind == opPrepare || c.kind == opCommit {
		c.branch = o.branches[o.r.IntN(len(o.branches))]
		if c.kind == opCommit {
			c.kind = c.branch.ends[o.r.IntN(len(c.branch.ends))]
		}
		if c.kind == opRollback {
			c.branch.sentRollback = true
		}
		if o.r.IntN(2) == 0 {
			c.lowWater = xid(o.firstUnfinished())
			if wild {
				c.lowWater = xid(1 + uint64(o.r.IntN(len(o.branches))))
			}
		}
		c.before = *c.branch
	}
	for _, b := range o.branches {
		if b.state == "prepared" {
			c.prepared[b] = true
		} else if b.state != "" {
			c.finished[b] = true
		}
	}
	o.calls = append(o.calls, c)
	return c
}

func (o *oracle) firstUnfinished() uint64 {
	for _, b := range o.branches {
		if !b.over() {
			return b.seq
		}
	}
	return uint64(len(o.branches) + 1)
}

// look compares what is committed now with what was before: nothing but one
// transaction of the guard's has been committed since.
func (o *oracle) look(db *simdb.DB) {
	n := db.Changes()
	if n == o.changes {
		return
	}
	o.changes = n
	for _, r := range db.Rows("dtc_guard_low_water") {
		stored := uint64(r["seq"].(int64))
		if stored < o.lowWater {
			o.fail("low water went down from %d to %d", o.lowWater, stored)
		}
		o.lowWater = stored
	}
	states := map[string]string{}
	for _, row := range db.Branches("dtc_guard") {
		states[row.XID] = row.State
	}
	held, applied := map[any]int{}, map[any]int{}
	taken := int64(0)
	for _, row := range db.Rows("token") {
		taken++
		if row["state"] == "held" {
			held[row["xid"]]++
		} else {
			applied[row["xid"]]++
		}
	}
	for _, row := range db.Rows("account") {
		if row["balance"] != 100-taken {
			o.fail("account %s has %d, and %d payments are held or applied", row["id"], row["balance"], taken)
		}
	}
	for _, b := range o.branches {
		name := xid(b.seq).String()
		o.moved(b, states[name], held[name], applied[name])
	}
	for _, c := range o.calls {
		for b := range c.prepared {
			if b.state != "prepared" {
				delete(c.prepared, b)
			}
		}
	}
}

// moved judges what has become of a branch's row and of its effects.
func (o *oracle) moved(b *branch, state string, held, applied int) {
	old := b.state
	b.state = state
	switch {
	case old == state:
	case old == "" && state == "prepared" && b.rolledBack:
		o.fail("branch %d was prepared after its rollback was acknowledged", b.seq)
	case old == "" && state != "committed":
	case old == "prepared" && state == "committed":
		b.applied++
		o.effects++
	case old == "prepared" && state == "rolled_back":
	case old == "prepared" && state == "":
		o.fail("the prepared row of branch %d is gone", b.seq)
	case state == "" && b.seq < o.lowWater:
	default:
		o.fail("the row of branch %d went from %q to %q, low water %d", b.seq, old, state, o.lowWater)
	}
	if want := map[bool]int{true: 1}[state == "prepared"]; held != want {
		o.fail("branch %d is %q and holds %d", b.seq, state, held)
	}
	if applied != b.applied || applied > 1 {
		o.fail("branch %d is %q and has %d effects, want %d", b.seq, state, applied, b.applied)
	}
}

// answered judges an answer.
func (o *oracle) answered(c *op) {
	switch c.kind {
	case opPrepare:
		o.voted(c)
	case opCommit, opRollback:
		o.told(c)
	case opList:
		o.listed(c)
	case opPrune:
	}
	for i, other := range o.calls {
		if other == c {
			o.calls = append(o.calls[:i], o.calls[i+1:]...)
			break
		}
	}
}

func (o *oracle) voted(c *op) {
	b, then := c.branch, c.before
	// Of two copies at once too both must give the vote that was stored first.
	alone := !b.sentRollback && b.seq >= o.lowWater
	switch {
	case errors.Is(c.err, dtc.ErrNoAnswer):
	case c.vote == dtc.VoteCommit:
		if b.payload != "" && b.payload != "fickle" || b.votedAbort && alone || then.rolledBack || then.votedAbort || then.votedRead || c.err != nil {
			o.fail("%s, known when it began: %+v", c, then)
		}
		b.votedCommit = true
	case c.vote == dtc.VoteReadOnly:
		// A copy that low water has overtaken may store this still: it holds nothing.
		if b.payload != "read-only" || then.votedAbort && b.seq >= o.lowWater || c.err != nil {
			o.fail("%s, known when it began: %+v", c, then)
		}
		b.votedRead = true
	default:
		if (b.votedCommit || b.payload == "" || b.payload == "read-only") && alone {
			o.fail("%s although nobody has rolled it back, known when it began: %+v", c, then)
		}
		b.votedAbort = true
	}
}

func (o *oracle) told(c *op) {
	b, then := c.branch, c.before
	below := b.seq < o.lowWater
	var finished *dtc.FinishedError
	switch {
	case c.err == nil && c.kind == opCommit:
		if b.applied != 1 && b.payload != "read-only" && !below {
			o.fail("%s and has no effect", c)
		}
		b.committed = true
	case c.err == nil:
		if b.state == "prepared" || b.applied > 0 && !below {
			o.fail("%s and it is %q", c, b.state)
		}
		b.rolledBack = true
	case errors.As(c.err, &finished) && finished.Outcome == dtc.Committed:
		if c.kind != opRollback || b.applied != 1 {
			o.fail("%s, but it has %d effects", c, b.applied)
		}
	case errors.As(c.err, &finished):
		if c.kind != opCommit || b.applied != 0 || !b.sentRollback && b.payload == "" {
			o.fail("%s, but it has %d effects, rolled back %v", c, b.applied, b.sentRollback)
		}
	case errors.Is(c.err, dtc.ErrUnknownBranch):
		if c.kind != opCommit || then.votedCommit || then.votedRead || then.votedAbort || then.rolledBack || then.committed {
			o.fail("%s, known when it began: %+v", c, then)
		}
	}
}

func (o *oracle) listed(c *op) {
	if c.err != nil {
		return
	}
	names := map[uint64]bool{}
	for _, b := range c.listed {
		names[b.XID.Seq] = true
	}
	for _, b := range o.branches {
		switch {
		case c.prepared[b] && !names[b.seq]:
			o.fail("branch %d was prepared all the time and is not listed", b.seq)
		case c.finished[b] && names[b.seq]:
			o.fail("branch %d was finished before and is listed", b.seq)
		}
	}
}
