package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// party is a participant: a computer of its own, or a part of the coordinator's
// process. Its life is one process of it; what it keeps is durable.
type party struct {
	w        *world
	books    *books // nil unless it keeps them in a database
	id       string
	listing  bool
	inline   bool
	local    bool          // see [local]
	once     *abilities    // nil if it never commits in one phase
	cold     time.Duration // it does not know its branches until then
	foreign  dtc.XID       // a branch of another log; see [world.plant]
	server   dtc.Participant
	lister   dtc.Lister
	life     *life
	starts   int
	down     bool
	cutTo    time.Duration // nothing reaches it until then
	cutFrom  time.Duration // nothing comes back from it
	crash    func()
	restart  func()
	state    func(dtc.XID) dtctest.State
	prepared func() []dtc.XID
}

// serverKey finds, in a context, the call that is served.
type serverKey struct{}

// newMemoryParty makes a participant that keeps every promise, in memory.
func newMemoryParty(w *world, id string, kind partyKind) *party {
	m := dtctest.NewMemory(id)
	m.Plain, m.NeverBlocks = kind == plainParty || kind == inlinePlainParty, kind != memoryParty && kind != plainParty
	p := &party{
		w: w, id: id, listing: !m.Plain, inline: m.NeverBlocks, server: m, lister: m,
		crash: m.Crash, restart: func() { m.Restart(true) }, state: m.State, prepared: m.Prepared,
	}
	m.OnPrepare = func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
		if err := p.work(ctx, "prepare"); err != nil {
			return dtc.VoteAbort, err
		}
		return p.vote(b)
	}
	if kind == inlineOneParty {
		m.OnePhase = true
		p.once = &abilities{OnePhaser: m, proof: func(log dtc.LogID, id dtc.TxID) dtc.XID {
			x, _ := m.Prove(context.Background(), log, id) // it never crashes by itself
			return x
		}}
	}
	m.OnCommit = func(ctx context.Context, _ dtc.Branch) error { return p.work(ctx, "commit") }
	m.OnRollback = func(ctx context.Context, _ dtc.Branch) error { return p.work(ctx, "rollback") }
	p.begin()
	return p
}

func (p *party) begin() {
	p.starts++
	p.life = newLife(fmt.Sprintf("%s/%d", p.id, p.starts))
	p.down = false
}

// serve lets the participant carry out a request, and looks at what it did.
func (p *party) serve(ctx context.Context, c *call) (rep reply) {
	if p.cold > p.w.now() && !p.w.calm {
		if c.verb == "commit" || c.verb == "rollback" {
			return reply{err: dtc.ErrUnknownBranch}
		}
		return silent(errCold)
	}
	switch c.verb {
	case "prepare":
		rep.vote, rep.err = p.server.Prepare(ctx, c.branch)
	case "commit":
		rep.err = p.server.Commit(ctx, c.branch)
	case "rollback":
		rep.err = p.server.Rollback(ctx, c.branch)
	case verbOnce:
		rep.vote, rep.err = p.once.CommitOnePhase(ctx, c.branch)
	case verbSettle:
		rep.outcome, rep.err = p.once.Settle(ctx, c.branch)
	case verbProve:
		rep.xid, rep.err = p.once.Prove(ctx, c.log, c.branch.TxID)
		return rep
	case verbList:
		rep.list, rep.err = p.lister.InDoubt(ctx, c.log)
		return rep
	}
	p.w.know.served(p, c, rep)
	return rep
}

// work is what a participant does for a branch: it takes its time, and may fail.
func (p *party) work(ctx context.Context, verb string) error {
	w := p.w
	s, ok := ctx.Value(serverKey{}).(*serving)
	if p.inline || !ok {
		return nil
	}
	l := s.life
	var err error
	delay := workDelay
	if !w.gate(l, s.name+": begins", quick, func() {
		switch {
		case w.calm:
		case w.chance(w.plan.hang):
			delay = span{500 * time.Millisecond, 15 * time.Second}
		case w.chance(w.plan.fail):
			err = dtc.NoAnswer(errors.New("busy"))
			if verb == "prepare" && w.chance(0.3) {
				err = errors.New("out of stock")
			}
		}
	}) {
		return dtctest.ErrDown
	}
	if !w.gate(l, s.name+": works", delay, nil) {
		return dtctest.ErrDown
	}
	return err
}

// vote is what the request asks it to vote.
func (p *party) vote(b dtc.Branch) (dtc.Vote, error) {
	o := orderOf(b.Payload)
	switch o.vote {
	case 'n':
		return dtc.VoteAbort, nil
	case 'r':
		return dtc.VoteReadOnly, nil
	case 'e':
		return dtc.VoteAbort, errors.New("refused by the books")
	}
	return dtc.VoteCommit, nil
}

var errCold = errors.New("not ready: it reads its books")

// fall kills a participant's process; it comes back with all that was durable.
func (w *world) fall(p *party) {
	if p.down || p.inline || p.local {
		return
	}
	w.trace("  CRASH of ", p.id)
	w.result.Counts.ParticipantCrashes++
	p.down = true
	w.faulty++
	p.crash()
	w.die(p.life)
	w.post(nil, p.id+" comes back", span{time.Millisecond, 10 * time.Second}, func() { w.rise(p) })
}

func (w *world) rise(p *party) {
	if !p.down {
		return
	}
	w.faulty--
	p.begin()
	p.restart()
	if w.plan.faults&PartyCold != 0 && w.chance(0.8) {
		p.cold = w.now() + w.draw(span{10 * time.Millisecond, 30 * time.Second})
		w.trace("  cold: ", p.id)
	}
}

// cut parts a participant from the coordinator for a while, in one direction or
// both.
func (w *world) cut(p *party) {
	if p.inline || p.local {
		return
	}
	until := w.now() + w.draw(span{10 * time.Millisecond, 20 * time.Second})
	which := w.rng.IntN(3)
	if which != 1 {
		p.cutTo = until
	}
	if which != 0 {
		p.cutFrom = until
	}
	w.trace("  CUT OFF ", p.id, [...]string{" to it", " from it", ""}[which], " for ", (until - w.now()).String())
	w.result.Counts.Partitions++
	w.faulty++
	w.post(nil, p.id+" may be reached again", span{until - w.now(), until - w.now()}, func() { w.faulty-- })
}
