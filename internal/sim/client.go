package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
)

// client is one who runs transactions, one after the other.
type client struct {
	w      *world
	n      int
	name   string
	jobs   []*job
	on     *process // what it talks to now
	cancel context.CancelFunc
	done   bool
}

// style is the way in which the transactions of an id are run.
type style uint8

const (
	executing style = iota // Execute
	running                // Run
	stepping               // Begin, Enlist, Commit
)

// job is something that a client wants.
type job struct {
	kind    OpKind
	style   style
	id      dtc.TxID
	request int
	orders  []dtc.Branch
	reads   bool          // some request of the id reads only
	once    bool          // some request of the id may be committed in one phase
	limit   time.Duration // of its patience; 0: for ever
	tries   int
	undo    bool // it ends in Rollback, or the function of Run fails
	asInfo  bool // by Transact
}

// order is what a payload asks of a participant.
type order struct{ vote byte }

func orderOf(payload []byte) order {
	i := strings.Index(string(payload), `"v":"`)
	if i < 0 {
		return order{vote: 'y'}
	}
	return order{vote: payload[i+5]}
}

// jobs draws what the clients do. The same id is asked for several times, by one
// client or by several, and now and then with another request.
func (w *world) hire(r, one *rand.Rand) {
	s := &w.plan
	ids := max(2, s.clients*s.perClient*2/3)
	type known struct {
		style    style
		requests [2][]dtc.Branch
		undo     bool
	}
	pool := make([]known, ids)
	for i := range pool {
		pool[i].style = [...]style{executing, executing, executing, running, stepping}[r.IntN(5)]
		pool[i].undo = r.IntN(6) == 0
		for q := range pool[i].requests {
			pool[i].requests[q] = w.order(r, q)
			if s.faults&OnePhases != 0 && one.IntN(3) > 0 {
				pool[i].requests[q] = w.single(one, q)
			}
		}
	}
	for n := range s.clients {
		c := &client{w: w, n: n, name: "client " + strconv.Itoa(n)}
		for range s.perClient {
			i := r.IntN(ids)
			k := &pool[i]
			j := &job{
				kind: OpExecute, style: k.style, id: dtc.TxID("t" + strconv.Itoa(i)), undo: k.undo,
				orders: k.requests[0], reads: onlyReads(k.requests[0]) || onlyReads(k.requests[1]), tries: 1 + r.IntN(6), asInfo: r.IntN(3) == 0,
			}
			j.once = w.mayOnce(k.requests[0], k.requests[1])
			switch r.IntN(12) {
			case 0, 1:
				j.kind = OpOutcome
			case 2:
				j.request, j.orders = 1, k.requests[1]
			case 3:
				j.style = style(r.IntN(3))
			}
			if limit := time.Duration(1 + r.IntN(int(3*time.Second))); s.faults&ClientsGiveUp != 0 && r.IntN(3) == 0 {
				j.limit = limit
			}
			if s.faults&OnePhases != 0 {
				j.vary(one)
			}
			c.jobs = append(c.jobs, j)
		}
		w.clients = append(w.clients, c)
	}
}

// order draws a request: who takes part, and how they shall vote.
func (w *world) order(r *rand.Rand, q int) (list []dtc.Branch) {
	n := 1 + r.IntN(min(4, len(w.parties)))
	bad := r.IntN(5) == 0
	for i, at := range r.Perm(len(w.parties))[:n] {
		vote := "y"
		switch {
		case r.IntN(8) == 0:
			vote = "r"
		case bad && i == 0:
			vote = [...]string{"n", "e"}[r.IntN(2)]
		}
		list = append(list, dtc.Branch{
			Participant: w.parties[at].id,
			Payload:     []byte(`{"q":` + strconv.Itoa(q) + `,"v":"` + vote + `"}`),
		})
	}
	return list
}

// work does the client's jobs.
func (c *client) work() {
	for _, j := range c.jobs {
		wait := span{0, c.w.plan.think}
		for range j.tries {
			if a := c.try(j, wait); a != NoAnswer && a != Refused && a != LogFailed {
				break
			}
			wait = span{10 * time.Millisecond, 3 * time.Second}
		}
	}
	c.w.gate(nil, c.name+" is done", instant, func() { c.done = true })
}

// try makes one call, if there is anybody to call.
func (c *client) try(j *job, wait span) Answer {
	w := c.w
	var p *process
	var began time.Duration
	var ctx context.Context
	what := c.name + " " + map[OpKind]string{OpExecute: "runs ", OpOutcome: "asks for ", OpProve: "looks for "}[j.kind] + string(j.id) + "/" + strconv.Itoa(j.request)
	for p == nil {
		if w.over.Load() {
			return NoAnswer
		}
		w.gate(nil, what, wait, func() {
			if w.proc.c == nil || w.proc.dead.Load() {
				return // nobody is there
			}
			p, began = w.proc, w.now()
			ctx, c.cancel = context.WithCancel(context.Background())
			if j.limit > 0 {
				ctx, c.cancel = context.WithTimeout(context.Background(), j.limit)
			}
			c.on = p
		})
		wait = span{50 * time.Millisecond, 2 * time.Second}
	}
	defer c.cancel()
	var a Answer
	var x dtc.XID
	if j.kind == OpOutcome {
		a = c.outcome(p, j)
	} else if j.kind == OpProve {
		a, x = c.prove(ctx, p, j)
	} else {
		a, x = c.run(ctx, p, j)
	}
	w.know.tells(p, j, a, x)
	op := w.op(j, c.n, began)
	heard := w.gate(p.life, c.name+" hears "+answerNames[a]+" of "+string(j.id), quick, func() {
		c.on = nil
		op.Return, op.Answer = w.now(), a
		w.know.hears(j, a, began)
	})
	w.gate(nil, c.name+" goes on", instant, func() {
		c.on = nil
		w.result.History = append(w.result.History, op)
	})
	if !heard {
		return NoAnswer
	}
	return a
}

var answerNames = [...]string{
	NoAnswer: "nothing", Committed: "committed", RolledBack: "rolled back", Conflict: "conflict",
	Refused: "refused", NotKnown: "not known", Unfinished: "unfinished", Heuristic: "heuristic",
	LogFailed: "log failed",
}

// run runs the transaction in its style.
func (c *client) run(ctx context.Context, p *process, j *job) (Answer, dtc.XID) {
	switch j.style {
	case running:
		return c.grow(ctx, p, j)
	case stepping:
		return c.steps(ctx, p, j)
	case executing:
	}
	if j.asInfo {
		info, err := p.c.Transact(ctx, j.id, nil, j.orders...)
		return c.w.answer(p, info.Outcome, err), info.XID
	}
	ok, err := p.c.Execute(ctx, j.id, j.orders...)
	o := dtc.OutcomeUnknown
	if ok {
		o = dtc.Committed
	}
	return c.w.answer(p, o, err), dtc.XID{}
}

func (c *client) grow(ctx context.Context, p *process, j *job) (Answer, dtc.XID) {
	var x dtc.XID
	err := p.c.Run(ctx, j.id, func(_ context.Context, tx *dtc.Tx) error {
		x = tx.XID()
		for _, b := range j.orders {
			if !c.w.gate(p.life, c.name+" enlists "+b.Participant+" in "+short(x), workDelay, nil) {
				return errDead
			}
			if err := tx.Enlist(b.Participant, b.Payload); err != nil {
				return err
			}
		}
		if j.undo {
			return errors.New("changed its mind")
		}
		return nil
	})
	o := dtc.OutcomeUnknown
	if err == nil {
		o = dtc.Committed
	}
	return c.w.answer(p, o, err), x
}

func (c *client) steps(ctx context.Context, p *process, j *job) (Answer, dtc.XID) {
	info, _, err := p.c.Begin(j.id, nil)
	if err != nil {
		return c.w.answer(p, dtc.OutcomeUnknown, err), dtc.XID{}
	}
	x := info.XID
	for _, b := range j.orders {
		if !c.w.gate(p.life, c.name+" enlists "+b.Participant+" in "+short(x), workDelay, nil) {
			return NoAnswer, x
		}
		b.XID = x
		if _, _, err := p.c.Enlist(j.id, b); err != nil {
			return c.w.answer(p, dtc.OutcomeUnknown, err), x
		}
	}
	if !c.w.gate(p.life, c.name+" ends "+short(x), workDelay, nil) {
		return NoAnswer, x
	}
	end := p.c.Commit
	if j.undo {
		end = p.c.Rollback
	}
	if c.w.plan.faults&OnePhases != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, asking)
		defer cancel()
	}
	info, err = end(ctx, j.id, &dtc.TxOptions{XID: x})
	return c.w.answer(p, info.Outcome, err), info.XID
}

func (c *client) outcome(p *process, j *job) Answer {
	o, err := p.c.Outcome(context.Background(), j.id)
	if err == nil && o == dtc.OutcomeUnknown {
		return Unfinished
	}
	return c.w.answer(p, o, err)
}

// answer sorts out what a call returned.
func (w *world) answer(p *process, o dtc.Outcome, err error) Answer {
	var heuristic *dtc.HeuristicError
	switch {
	case err == nil && o == dtc.Committed:
		return Committed
	case err == nil && o == dtc.RolledBack, errors.Is(err, dtc.ErrRolledBack):
		return RolledBack
	case err == nil && o == dtc.Heuristic, errors.As(err, &heuristic):
		return Heuristic
	case errors.Is(err, dtc.ErrInDoubt):
		return NoAnswer
	case errors.Is(err, dtc.ErrTxConflict):
		return Conflict
	case errors.Is(err, dtc.ErrUnknownTx):
		return NotKnown
	case errors.Is(err, dtc.ErrLogFailed):
		return LogFailed
	case errors.Is(err, dtc.ErrFull), errors.Is(err, dtc.ErrClosed),
		errors.Is(err, dtc.ErrBadRequest), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Refused
	}
	if !p.dead.Load() {
		w.violation("told", "a client hears what means nothing: %v, %v", o, err)
	}
	return NoAnswer
}

// hangUp lets the clients of a process that has died go.
func (w *world) hangUp(p *process) {
	for _, c := range w.clients {
		if c.on == p {
			w.post(nil, c.name+" is cut off", instant, c.cancel)
		}
	}
}
