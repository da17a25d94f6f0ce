package simdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// history is one run of calls on a guard: copies of prepare, commit and rollback of a
// few branches, at once, from two processes over one database, with whatever the seed
// lets go wrong. Everything stands at a gate before each step, and one passes at a
// time: the seed decides everything.
type history struct {
	r       *rand.Rand
	db      *simdb.DB
	procs   [2]*process
	clients [6]*client
	o       *oracle
	faults  faults
	trace   []string
	counts  counts
	down    bool
	start   time.Time

	mu    sync.Mutex
	gates []*gate
}

// faults are the classes that a seed has.
type faults struct{ crash, kill, cut, late, wildLowWater, timeouts bool }

type counts struct {
	calls, votes, effects, crashes, kills, cuts, late, woken, timeouts, deadlocks, pruned, refusedLate int64
}

func (c *counts) add(d counts) {
	c.calls += d.calls
	c.votes += d.votes
	c.effects += d.effects
	c.crashes += d.crashes
	c.kills += d.kills
	c.cuts += d.cuts
	c.late += d.late
	c.woken += d.woken
	c.timeouts += d.timeouts
	c.deadlocks += d.deadlocks
	c.pruned += d.pruned
	c.refusedLate += d.refusedLate
}

// process has the tables in common with the others, and nothing else.
type process struct {
	pool  *sql.DB
	guard *guard.Guard
}

// client makes one call at a time.
type client struct {
	n    int
	call *op // nil: idle
}

// gate is where a call stands.
type gate struct {
	client  *client
	what    string
	release chan error
}

type clientKey struct{}

var errLost = errors.New("the connection is lost")

// step is the database's hook. What does not come from a client passes, and no other
// moves meanwhile.
func (h *history) step(ctx context.Context, what string) error {
	c, ok := ctx.Value(clientKey{}).(*client)
	if !ok {
		if what == "committed" {
			h.o.look(h.db)
		}
		return nil
	}
	g := &gate{client: c, what: what, release: make(chan error, 1)}
	h.mu.Lock()
	h.gates = append(h.gates, g)
	h.mu.Unlock()
	select {
	case err := <-g.release:
		return err
	case <-ctx.Done():
		h.mu.Lock()
		defer h.mu.Unlock()
		h.gates = slices.DeleteFunc(h.gates, func(other *gate) bool { return other == g })
		return ctx.Err()
	}
}

// standing returns the gates in the order of clients; nothing moves meanwhile.
func (h *history) standing() []*gate {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortFunc(h.gates, func(a, b *gate) int { return a.client.n - b.client.n })
	return slices.Clone(h.gates)
}

func (h *history) pass(g *gate, err error) {
	h.mu.Lock()
	h.gates = slices.DeleteFunc(h.gates, func(other *gate) bool { return other == g })
	h.mu.Unlock()
	if strings.HasPrefix(g.what, "woken") {
		h.counts.woken++
	}
	h.note("client %d: %s: %v", g.client.n, g.what, err)
	g.release <- err
	h.settle()
}

func (h *history) note(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf("%12v ", time.Since(h.start))+fmt.Sprintf(format, args...))
}

// settle waits until everything stands, then looks. Time passes a little, so that no
// two timers end at once, in an order of their own.
func (h *history) settle() {
	synctest.Wait()
	h.o.look(h.db)
	for _, c := range h.clients {
		if c.call == nil || !c.call.ended() {
			continue
		}
		h.note("client %d: %s", c.n, c.call)
		if !c.call.dead {
			h.count(c.call)
			h.o.answered(c.call)
		}
		c.call = nil
	}
	time.Sleep(time.Microsecond)
}

func (h *history) count(c *op) {
	var e *simdb.Error
	switch {
	case errors.As(c.err, &e) && e.Code == "40P01":
		h.counts.deadlocks++
	case errors.Is(c.err, context.DeadlineExceeded):
		h.counts.timeouts++
	case c.kind == opPrepare && c.err == nil:
		h.counts.votes++
	case errors.Is(c.err, guard.ErrRefused):
		h.counts.refusedLate++
	case c.kind == opPrune:
		h.counts.pruned += int64(c.dropped)
	}
}

// open starts a process: with tables that stand, nothing in it waits.
func (h *history) open(t *testing.T, i int) {
	p := &process{pool: simdb.Open(h.db)}
	p.pool.SetMaxIdleConns(len(h.clients))
	every := []int{-1, 1, 3}[h.r.IntN(3)]
	var err error
	p.guard, err = guard.New(t.Context(), participant, p.pool, guard.PostgreSQL, h.o.payments(), &guard.Options{PruneEvery: every})
	if err != nil {
		t.Fatal(err)
	}
	h.procs[i] = p
}

func (h *history) kill(t *testing.T, i int) {
	h.note("process %d is killed", i)
	h.counts.kills++
	old := h.procs[i]
	simdb.Kill(old.pool)
	synctest.Wait() // whom that woke comes to its gate
	for _, c := range h.clients {
		if c.call != nil && c.call.guard == old.guard {
			c.call.dead = true
		}
	}
	for _, g := range h.standing() {
		if g.client.call.dead {
			h.pass(g, errLost)
		}
	}
	h.settle()
	if err := old.pool.Close(); err != nil {
		t.Fatal(err)
	}
	h.open(t, i)
}

// play is one history, from its seed.
func play(t *testing.T, seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 1))
	schema, err := guard.Schema(guard.PostgreSQL, "")
	if err != nil {
		t.Fatal(err)
	}
	h := &history{r: r, db: simdb.New(schema, simdb.Tokens), start: time.Now()}
	h.faults = faults{
		crash: r.IntN(3) == 0, kill: r.IntN(3) == 0, cut: r.IntN(2) == 0,
		late: r.IntN(2) == 0, wildLowWater: r.IntN(4) == 0, timeouts: r.IntN(2) == 0,
	}
	h.o = newOracle(r)
	for i := range h.clients {
		h.clients[i] = &client{n: i}
	}
	for i := range h.procs {
		h.open(t, i)
	}
	defer func() {
		for _, p := range h.procs {
			p.pool.Close()
		}
	}()
	if _, err := h.procs[0].pool.ExecContext(t.Context(), "INSERT INTO account (id, balance) VALUES ('a', 100)"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.procs[0].pool.ExecContext(t.Context(), "INSERT INTO account (id, balance) VALUES ('b', 100)"); err != nil {
		t.Fatal(err)
	}
	h.db.Step = h.step
	for n := 60 + r.IntN(200); n > 0 && h.o.violated == ""; n-- {
		h.move(t)
	}
	h.heal(t)
	h.counts.effects = int64(h.o.effects)
	return h
}

// move is one thing that happens.
func (h *history) move(t *testing.T) {
	standing := h.standing()
	switch n := h.r.IntN(100); {
	case h.down && n < 30:
		h.note("the server is back")
		h.db.Restart()
		h.down = false
	case h.faults.crash && !h.down && n < 2:
		h.note("the server crashes")
		h.db.Crash()
		h.counts.crashes++
		h.down = true
	case h.faults.kill && !h.down && n < 4:
		h.kill(t, h.r.IntN(len(h.procs)))
	case h.faults.late && n < 8:
		if arrives := h.r.IntN(3) > 0; h.db.Deliver(arrives) {
			h.note("what was late arrives: %v", arrives)
		}
	case h.faults.timeouts && n < 9:
		time.Sleep(time.Duration(h.r.IntN(3000)) * time.Millisecond)
	case n < 30 || len(standing) == 0:
		h.begin()
	default:
		g := standing[h.r.IntN(len(standing))]
		var err error
		switch n := h.r.IntN(40); {
		case h.faults.cut && n == 0:
			err = errLost
			h.counts.cuts++
		case h.faults.late && n == 1:
			err = simdb.ErrLate
			h.counts.late++
		}
		h.pass(g, err)
		return
	}
	h.settle()
}

// begin starts a call of an idle client, if there is one.
func (h *history) begin() {
	for _, c := range h.clients {
		if c.call != nil {
			continue
		}
		call := h.o.next(h.faults.wildLowWater)
		call.guard = h.procs[h.r.IntN(len(h.procs))].guard
		ctx := context.WithValue(context.Background(), clientKey{}, c)
		cancel := func() {}
		if h.faults.timeouts {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(1+h.r.IntN(10))*time.Second)
		}
		c.call = call
		h.counts.calls++
		h.note("client %d begins: %s", c.n, call)
		go func() {
			defer cancel()
			call.run(ctx)
		}()
		return
	}
}

// heal lets everything end that is under way, then finishes every branch, and drops
// every row.
func (h *history) heal(t *testing.T) {
	h.note("everything heals")
	h.db.Restart()
	for range 10_000 {
		gates := h.standing()
		if !h.db.Deliver(true) && len(gates) == 0 {
			break
		}
		if len(gates) > 0 {
			h.pass(gates[0], nil)
		}
		h.settle()
	}
	for _, c := range h.clients {
		if c.call != nil {
			h.o.fail("client %d: %s is not over", c.n, c.call)
		}
	}
	if open, waiting := h.db.Busy(); open+waiting > 0 {
		h.o.fail("%d transactions are open and %d statements wait", open, waiting)
	}
	if h.o.violated == "" {
		h.finish(t)
	}
}

func (h *history) finish(t *testing.T) {
	run := func(c *op) *op {
		c.guard, c.over = h.procs[0].guard, make(chan struct{})
		c.run(t.Context())
		c.ended()
		h.note("at the end: %s", c)
		h.settle()
		h.o.answered(c)
		return c
	}
	for _, b := range h.o.branches {
		if b.state == "prepared" {
			run(&op{kind: b.end(), branch: b})
		}
	}
	if list := run(&op{kind: opList}); len(list.listed) > 0 {
		h.o.fail("at the end %d branches are in doubt", len(list.listed))
	}
	above := xid(uint64(len(h.o.branches) + 1))
	for _, b := range h.o.branches {
		run(&op{kind: opRollback, branch: b, lowWater: above})
	}
	run(&op{kind: opPrune})
	if rows := h.db.Branches("dtc_guard"); len(rows) > 0 {
		h.o.fail("below low water %d rows stand: %v", len(rows), rows)
	}
	for _, b := range h.o.branches {
		if c := run(&op{kind: opPrepare, branch: b}); c.vote != dtc.VoteAbort {
			h.o.fail("below low water a prepare answers %v", c.vote)
		}
	}
}
