// Package histories checks what clients were told about transactions, and when,
// against what the coordinator promises about the outcome of an id. The model is in
// model.go; Porcupine searches for an order of what happened that the model allows.
package histories

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
)

// Params is what the promise depends on.
type Params struct {
	// Retention and Limit are those of the coordinator's configuration: an outcome
	// may be forgotten when it is older, or when as many other transactions may have
	// ended since. Zero means that nothing is forgotten for that reason.
	Retention time.Duration
	Limit     int
	// Networked says that a request may arrive late or twice, also at a process that
	// started after its client had its answer, or had given up.
	Networked bool
}

// never is the end of what never ends.
const never = math.MaxInt64

// call is an operation with its place in the order of all that happened.
type call struct {
	sim.Op
	from, to int64 // closed: what touches is concurrent
	ends     int64 // executes: until when it may begin to run
	dies     int64 // and when the process dies that it was called in
}

// partition is all that happened to one id.
type partition struct {
	id    string
	calls []call // without those that say nothing
	runs  []call // the executes, which may have started it
}

// partitions sorts a history by id, and puts the crashes where they matter.
func partitions(ops []sim.Op, p Params) []partition {
	var crashes []call
	byID := map[string]*partition{}
	for _, op := range ops {
		if c := place(op, p); op.Kind == sim.OpPowerLost || op.Kind == sim.OpKilled || op.Kind == sim.OpClosed {
			crashes = append(crashes, c)
		}
	}
	slices.SortFunc(crashes, func(a, b call) int { return cmp.Compare(a.from, b.from) })
	for _, op := range ops {
		if !calls(op.Kind) {
			continue
		}
		q := byID[op.ID]
		if q == nil {
			q = &partition{id: op.ID}
			byID[op.ID] = q
		}
		c := place(op, p)
		if op.Kind == sim.OpExecute {
			c.lasts(crashes, p)
			if op.Answer != sim.Conflict || op.Steps || p.Networked {
				q.runs = append(q.runs, c)
			}
		}
		if says(op) {
			q.calls = append(q.calls, c)
		}
	}
	all := make([]partition, 0, len(byID))
	for _, q := range byID {
		q.crashes(crashes)
		all = append(all, *q)
	}
	slices.SortFunc(all, func(a, b partition) int { return cmp.Compare(a.id, b.id) })
	return all
}

// calls reports whether it is about one id.
func calls(k sim.OpKind) bool {
	return k == sim.OpExecute || k == sim.OpOutcome || k == sim.OpProve || k == sim.OpResolved
}

// says reports whether an answer tells anything about the id.
func says(op sim.Op) bool {
	switch op.Answer {
	case sim.NoAnswer, sim.Refused, sim.LogFailed:
		return false
	case sim.Conflict, sim.NotKnown, sim.Unfinished:
		return !op.Steps
	case sim.Committed, sim.RolledBack, sim.Heuristic:
	}
	return true
}

// turnedAway reports whether an execute's answer says that it began nothing.
func turnedAway(op sim.Op) bool {
	return !op.Steps && (op.Answer == sim.Conflict || op.Answer == sim.Refused || op.Answer == sim.LogFailed)
}

// place turns times into places. What a process answered in the moment in which it
// died came before that; everything else of one moment is concurrent.
func place(op sim.Op, p Params) call {
	c := call{Op: op, from: 4 * int64(op.Call), to: 4 * int64(op.Return)}
	switch {
	case !calls(op.Kind):
		c.Return = max(c.Return, c.Call)
		c.from, c.to = c.from+1, 4*int64(c.Return)+1
	case op.Return < 0:
		c.to = never
	case p.Networked || op.Call == op.Return:
		c.to += 2
	}
	return c
}

// lasts notes until when an execute may begin to run: its process's end if nobody heard
// how it ended.
func (c *call) lasts(crashes []call, p Params) {
	c.dies = never
	if p.Networked {
		c.ends = never
		return
	}
	for _, crash := range crashes {
		if crash.Call >= c.Call { // the next process takes a moment to start
			c.dies = crash.to
			break
		}
	}
	c.ends = c.dies
	if says(c.Op) || turnedAway(c.Op) {
		c.ends = c.to
	}
}

// crashes adds those that can make a difference: after a run may have begun, and before
// somebody heard something.
func (q *partition) crashes(all []call) {
	if len(q.runs) == 0 || len(q.calls) == 0 {
		return
	}
	first, last := int64(never), int64(0)
	for _, c := range q.runs {
		first = min(first, c.from)
	}
	for _, c := range q.calls {
		last = max(last, c.to)
	}
	for _, c := range all {
		if c.to >= first && c.from <= last {
			q.calls = append(q.calls, c)
		}
	}
	slices.SortStableFunc(q.calls, func(a, b call) int { return cmp.Compare(a.from, b.from) })
}

// steps turns the calls of a partition into those of the model.
func (q *partition) steps(p Params, begun []time.Duration) []*step {
	runs := q.slots()
	steps := make([]*step, 0, len(q.calls))
	for _, c := range q.calls {
		s := &step{call: c, proves: make([]uint64, 64)}
		for i := range q.runs {
			r, bit := &q.runs[i], uint64(1)<<runs[i]
			if r.Request == c.Request {
				s.same |= bit
			}
			if r.from <= c.to && c.from <= r.ends {
				s.starts |= bit
			}
			if r.ReadOnly {
				s.readOnly |= bit
			}
			s.phases(q.runs, runs, i)
			if r.Grown {
				s.grown |= bit
			}
			if turnedAway(r.Op) && !p.Networked {
				s.refused |= bit
				if r.Answer == sim.LogFailed && r.from <= c.from && c.to <= r.dies {
					s.written |= bit
				}
				if r.ends < c.from {
					s.over |= bit
				}
			}
			if p.forgets(r, &c, begun) {
				s.forgotten |= bit
			}
		}
		steps = append(steps, s)
	}
	return steps
}

// slots gives each run a bit. If there are too many, those of one request that are told
// apart by nothing but their time share one, which allows a little more.
func (q *partition) slots() []int {
	slots := make([]int, len(q.runs))
	if len(q.runs) <= 64 {
		for i := range slots {
			slots[i] = i
		}
		return slots
	}
	type kind struct {
		request                           int
		refused, written, readOnly, grown bool
		once                              bool
		evidence                          int
	}
	kinds := map[kind]int{}
	for i, r := range q.runs {
		k := kind{r.Request, turnedAway(r.Op), r.Answer == sim.LogFailed, r.ReadOnly, r.Grown, r.OnePhase, r.Evidence}
		n, ok := kinds[k]
		if !ok {
			n = len(kinds) % 64
			kinds[k] = n
		}
		slots[i] = n
	}
	return slots
}

// forgets reports whether the outcome of a run may have been forgotten when a call was
// answered: because it is old, or because many have ended since. When the run ended is
// not known, only that it began after it was called for.
func (p Params) forgets(r, c *call, begun []time.Duration) bool {
	n, _ := slices.BinarySearch(begun, c.Return+1) // up to then
	return p.Retention > 0 && c.Return-r.Call > p.Retention || p.Limit > 0 && n > p.Limit
}

// begun returns when there were calls that may have begun a transaction, in order. One
// that could not be logged stands in the log perhaps all the same: then it ends in the
// process after the one that was killed with it, and takes a place among the outcomes. A
// process whose log has failed begins no more, so it leaves one such of an id at most.
func begun(ops []sim.Op) []time.Duration {
	var at []time.Duration
	var deaths []sim.Op
	for _, op := range ops {
		switch op.Kind {
		case sim.OpPowerLost, sim.OpKilled, sim.OpClosed:
			deaths = append(deaths, op)
		case sim.OpExecute, sim.OpOutcome, sim.OpReopened, sim.OpProve, sim.OpResolved:
		}
	}
	slices.SortStableFunc(deaths, func(a, b sim.Op) int { return cmp.Compare(a.Call, b.Call) })
	type left struct {
		id    string
		death int
	}
	found := map[left]bool{}
	for _, op := range ops {
		switch {
		case op.Kind != sim.OpExecute:
		case !turnedAway(op):
			at = append(at, op.Call)
		case op.Answer == sim.LogFailed:
			i := slices.IndexFunc(deaths, func(d sim.Op) bool { return d.Call >= op.Call })
			if i < 0 || deaths[i].Kind == sim.OpClosed || found[left{op.ID, i}] {
				continue
			}
			found[left{op.ID, i}] = true
			at = append(at, deaths[i].Call+1) // not in the process that died
		}
	}
	slices.Sort(at)
	return at
}
