package sim

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/dtc-project/dtc"
)

var (
	errDead  = errors.New("sim: the process is dead")
	errReset = errors.New("sim: connection reset")
)

// call is one call of a participant, on its way.
type call struct {
	verb   string
	name   string // in the trace
	from   *process
	to     *party
	branch dtc.Branch
	log    dtc.LogID // of a listing
	deaf   bool      // does not notice that its context ends
	closed bool      // nobody listens any more
	stale  bool      // its context had ended when it left
	reply  chan reply
}

type reply struct {
	vote dtc.Vote
	err  error
	list []dtc.InDoubtBranch

	outcome dtc.Outcome // of a settle
	xid     dtc.XID     // of a proof
}

const verbList = "list"

// about names what a call is about.
func (c *call) about() string {
	switch c.verb {
	case verbList:
		return ""
	case verbProve:
		return " " + string(c.branch.TxID)
	}
	return " " + short(c.branch.XID)
}

// remote is a participant as a process of the coordinator sees it.
type remote struct {
	w *world
	p *process
	*party
}

var (
	_ dtc.Lister      = remote{}
	_ dtc.NonBlocking = remote{}
)

// ID implements [dtc.Participant].
func (r remote) ID() string { return r.id }

// Listing implements [dtc.Lister].
func (r remote) Listing() bool { return r.listing }

// NonBlocking implements the ability of that name.
func (r remote) NonBlocking() bool { return r.inline }

// Prepare implements [dtc.Participant].
func (r remote) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	rep := r.call(ctx, &call{verb: "prepare", branch: b})
	return rep.vote, rep.err
}

// Commit implements [dtc.Participant].
func (r remote) Commit(ctx context.Context, b dtc.Branch) error {
	return r.call(ctx, &call{verb: "commit", branch: b}).err
}

// Rollback implements [dtc.Participant].
func (r remote) Rollback(ctx context.Context, b dtc.Branch) error {
	return r.call(ctx, &call{verb: "rollback", branch: b}).err
}

// InDoubt implements [dtc.Lister].
func (r remote) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	rep := r.call(ctx, &call{verb: verbList, log: log})
	return rep.list, rep.err
}

// call sends a request and waits for its answer or for the end of the context.
func (r remote) call(ctx context.Context, c *call) reply {
	w, p := r.w, r.p
	c.from, c.to, c.reply = p, r.party, make(chan reply, 1)
	c.name = p.name + " " + c.verb + " " + r.id
	if c.name += c.about(); c.branch.Attempt > 0 {
		c.name += " #" + strconv.Itoa(c.branch.Attempt)
	}
	if p.dead.Load() {
		w.gate(p.life, c.name+" of a dead process", instant, nil)
		return silent(errDead)
	}
	if r.inline {
		return r.local(ctx, c)
	}
	if r.party.local {
		if !w.gate(p.life, c.name, quick, func() { w.leaves(c) }) {
			return silent(errDead)
		}
		return r.here(ctx, c)
	}
	if !w.gate(p.life, c.name, quick, func() { c.stale = ctx.Err() != nil; w.leaves(c); w.transmit(c) }) {
		return silent(errDead)
	}
	done := ctx.Done()
	if c.deaf {
		done = nil
	}
	select {
	case rep := <-c.reply:
		return rep
	case <-done:
	case <-p.died:
	}
	if p.dead.Load() || !w.gate(p.life, c.name+" gives up", instant, func() { c.closed = true }) {
		w.gate(p.life, c.name+" dies", instant, nil)
		return silent(errDead)
	}
	return silent(ctx.Err())
}

func silent(err error) reply { return reply{vote: dtc.VoteAbort, err: dtc.NoAnswer(err)} }

// local is a call of a participant within the process. Nothing is between the two,
// but the process may die before it, and before its answer counts.
func (r remote) local(ctx context.Context, c *call) reply {
	if !r.w.gate(r.p.life, c.name, instant, func() { r.w.leaves(c) }) {
		return silent(errDead)
	}
	rep := r.party.serve(ctx, c)
	if !r.w.gate(r.p.life, c.name+" = "+rep.String(), instant, nil) {
		return silent(errDead)
	}
	return rep
}

// transmit decides what becomes of a request.
func (w *world) transmit(c *call) {
	w.messages++
	c.name = "m" + strconv.Itoa(w.messages) + " " + c.verb + " " + c.to.id + c.about()
	s := &w.plan
	if !w.calm && s.faults&Deaf != 0 && w.chance(0.05) {
		c.deaf = true
		w.post(c.from.life, c.name+" returns at last", span{10 * time.Millisecond, 20 * time.Second}, func() {
			c.answer(silent(errReset))
		})
	}
	copies := 1
	switch {
	case w.calm:
	case w.chance(s.lose):
		copies = 0
		w.result.Counts.Lost++
		w.trace("  lost: ", c.name)
		if w.chance(0.5) { // and that is noticed
			w.post(c.from.life, "reset "+c.name, netDelay, func() { c.answer(silent(errReset)) })
		}
	case w.chance(s.repeat):
		copies = 2 + w.rng.IntN(2)
		w.result.Counts.Repeated += copies - 1
	}
	for i := range copies {
		delay := w.way()
		if i > 0 || !w.calm && w.chance(s.late) {
			delay = span{time.Millisecond, 2 * time.Minute}
			w.result.Counts.Late++
		}
		w.post(nil, c.name+" arrives"+nth(i), delay, func() { w.deliver(c, i) })
	}
}

func nth(i int) string {
	if i == 0 {
		return ""
	}
	return " again (" + strconv.Itoa(i) + ")"
}

// way is how long a message is under way.
func (w *world) way() span {
	if !w.calm && w.chance(w.plan.slow) {
		return span{time.Millisecond, 3 * time.Second}
	}
	return netDelay
}

// deliver lets a request arrive.
func (w *world) deliver(c *call, i int) {
	p := c.to
	now := w.now()
	if p.cutTo > now {
		w.result.Counts.Lost++
		w.trace("  cut off: ", c.name)
		return
	}
	if p.down {
		w.trace("  down: ", c.name)
		w.post(c.from.life, "refused "+c.name+nth(i), netDelay, func() { c.answer(silent(errReset)) })
		return
	}
	if c.verb != verbList && c.from.dead.Load() {
		w.result.Counts.Late++
	}
	server := p.life
	w.executing.Add(1)
	w.goes(func() {
		defer w.executing.Add(-1)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), serverKey{}, &serving{server, c.name + nth(i), c.branch}))
		defer cancel()
		rep := p.serve(ctx, c)
		if server.dead.Load() {
			return
		}
		w.post(server, c.name+nth(i)+" = "+rep.String(), quick, func() { w.respond(c, i, rep) })
	})
}

// respond decides what becomes of an answer.
func (w *world) respond(c *call, i int, rep reply) {
	if !w.calm && w.chance(w.plan.lose) || c.to.cutFrom > w.now() {
		w.result.Counts.Lost++
		w.trace("  answer lost: ", c.name)
		return
	}
	if c.from.dead.Load() || c.closed {
		return
	}
	w.post(c.from.life, "answer to "+c.name+nth(i), w.way(), func() {
		if c.to.cutFrom > w.now() {
			w.trace("  answer cut off: ", c.name)
			return
		}
		c.answer(rep)
	})
}

// answer gives the first answer to whoever waits.
func (c *call) answer(rep reply) {
	if c.closed {
		return
	}
	c.closed = true
	c.reply <- rep
}

// String is the answer in the trace.
func (r reply) String() string {
	switch {
	case r.err != nil:
		return "error " + r.err.Error()
	case r.list != nil:
		return strconv.Itoa(len(r.list)) + " in doubt"
	case r.outcome != dtc.OutcomeUnknown:
		return r.outcome.String()
	case !r.xid.IsZero():
		return "committed as " + short(r.xid)
	}
	return r.vote.String()
}
