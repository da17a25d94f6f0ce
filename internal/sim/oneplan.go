package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/dtc-project/dtc"
)

// onePhases makes some of the participants such as can commit in one phase. What it
// draws comes from a source of its own, so that a seed without the class is the run
// that it was before there was one.
func (s *settings) onePhases(r *rand.Rand) {
	sure := r.IntN(len(s.parties))
	for i, kind := range s.parties {
		if r.IntN(2) == 0 && i != sure {
			continue
		}
		s.parties[i] = oneParty
		if kind == inlineParty || kind == inlinePlainParty {
			s.parties[i] = inlineOneParty
		}
	}
	s.turning = r.IntN(4) == 0
}

// single draws a request with one branch, at a participant that can commit in one phase.
func (w *world) single(r *rand.Rand, q int) []dtc.Branch {
	var able []string
	for _, p := range w.parties {
		if p.once != nil {
			able = append(able, p.id)
		}
	}
	vote := [...]string{"y", "y", "y", "y", "y", "y", "r", "n", "e"}[r.IntN(9)]
	return []dtc.Branch{{
		Participant: able[r.IntN(len(able))],
		Payload:     []byte(`{"q":` + strconv.Itoa(q) + `,"v":"` + vote + `"}`),
	}}
}

// mayOnce reports whether one of the requests may be committed in one phase.
func (w *world) mayOnce(requests ...[]dtc.Branch) bool {
	for _, orders := range requests {
		for _, b := range orders {
			for _, p := range w.parties {
				if p.id == b.Participant && p.once != nil {
					return true
				}
			}
		}
	}
	return false
}

// evidence numbers the requests that find each other's evidence: the same number, but 0,
// is the same branch in one phase, which nothing can keep from being asked.
func (w *world) evidence(j *job) int {
	s := &w.plan
	if len(j.orders) != 1 || j.style == stepping || s.turning || s.faults&(Forgets|Registry|Crowds) != 0 || !w.mayOnce(j.orders) {
		return 0
	}
	return 1 + j.request
}

// tellOnePhase takes from the history that an id may have been committed in one phase
// if nobody ever tried.
func (w *world) tellOnePhase() {
	k := w.know
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range w.result.History {
		op := &w.result.History[i]
		id := k.byID[dtc.TxID(op.ID)]
		op.OnePhase = op.OnePhase && id != nil && id.once()
	}
}

// hold lets an operator say that the log may not be the whole truth, and take it back
// later.
func (w *world) hold(tries int) {
	if !w.serving() || w.holding {
		if tries > 0 {
			w.within(100, func() { w.hold(tries - 1) })
		}
		return
	}
	w.trace("  HOLD")
	w.result.Counts.Holds++
	p := w.proc
	w.holding = true // one at a time: they wait for each other
	w.goes(func() {
		_ = p.c.Hold(context.Background(), "it was restored, perhaps") // if the log fails it is seen elsewhere
		w.post(nil, "the hold has begun", instant, func() { w.holding = false })
	})
	w.post(nil, "the operator looks at the hold", span{10 * time.Millisecond, 20 * time.Second}, w.release)
}

// release ends the hold, at whatever process there is then.
func (w *world) release() {
	p := w.proc
	again := func() {
		w.post(nil, "the operator looks at the hold", span{10 * time.Millisecond, 2 * time.Second}, w.release)
	}
	if !w.serving() || w.holding {
		again()
		return
	}
	if _, held := p.c.Held(); !held {
		return
	}
	w.holding = true
	w.goes(func() {
		err := p.c.Release(context.Background(), "it was not")
		w.post(nil, "the hold is over", instant, func() { w.holding = false })
		if err != nil {
			again()
		}
	})
}

// vary lets a client ask for proofs, and a function fail that does not fail otherwise.
func (j *job) vary(r *rand.Rand) {
	proves, fails := r.IntN(2) == 0, r.IntN(4) == 0
	if j.kind == OpOutcome && proves {
		j.kind = OpProve
	}
	j.undo = j.undo != fails
}

// prove asks the participants too. Nothing follows from an answer that lacks that of one
// of them.
func (c *client) prove(ctx context.Context, p *process, j *job) (Answer, dtc.XID) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	info, err := p.c.Prove(ctx, j.id)
	switch {
	case err == nil && info.Outcome == dtc.OutcomeUnknown:
		return Unfinished, info.XID
	case err == nil && info.State == dtc.Committed.String() && info.Ended.IsZero():
		c.w.know.mu.Lock()
		c.w.result.Counts.Proofs++
		c.w.know.mu.Unlock()
	case errors.Is(err, dtc.ErrUnknownTx) && (silence(err) || c.w.plan.faults&Registry != 0):
		return NoAnswer, dtc.XID{}
	}
	return c.w.answer(p, info.Outcome, err), info.XID
}

// asking is how long somebody waits for the participants' proofs; the coordinator sets no
// limit.
const asking = 30 * time.Second

// silence reports whether an error says that somebody could not be asked.
func silence(err error) bool { return errors.Is(err, dtc.ErrNoAnswer) }

// inDoubt reports whether a transaction may be one in one phase of which nobody knows
// what became of it.
func (w *world) inDoubt(info *dtc.TxInfo) bool {
	k := w.know
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.byXID[info.XID]
	return t != nil && t.phase.once && info.State == "preparing" && len(info.Branches) == 1
}

// says notes what became of an operator's word about a transaction in one phase.
func (w *world) says(p *process, t *tx, o dtc.Outcome, err error, before bool, began time.Duration) {
	k := w.know
	k.mu.Lock()
	defer k.mu.Unlock()
	if errors.Is(err, dtc.ErrBadRequest) || errors.Is(err, dtc.ErrUnknownTx) {
		t.resolved = before // it was not taken
		return
	}
	op := Op{Kind: OpResolved, Client: -1, ID: string(t.id.id), Call: began, Return: -1, Answer: RolledBack}
	if o == dtc.Committed {
		op.Answer = Committed
	}
	if err == nil && !p.dead.Load() {
		op.Return = w.now()
		if t.phase.stated == dtc.OutcomeUnknown {
			t.phase.stated = o
			w.result.Counts.Statements++
		}
	}
	w.result.History = append(w.result.History, op)
}
