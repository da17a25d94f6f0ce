package conformance

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

// check is one run of one case. Its methods that begin with "must" end the case
// when they are disappointed, and belong to the goroutine that runs it; the others
// may be called by several.
type check struct {
	s     *suite
	ctx   context.Context
	log   dtc.LogID // no coordinator's, and this case's alone
	trace string

	mu       sync.Mutex
	seq      uint64
	held     []branch // what may be prepared
	findings []Finding
	notTried []string
}

func (s *suite) newCheck(ctx context.Context) *check {
	c := &check{s: s, ctx: ctx, log: randomLog()}
	var trace [24]byte
	_, _ = rand.Read(trace[:]) // never fails
	trace[0], trace[23] = 1, 1 // neither id of a trace is zero
	c.trace = "00-" + hex.EncodeToString(trace[:16]) + "-" + hex.EncodeToString(trace[16:]) + "-01"
	return c
}

func randomLog() (log dtc.LogID) {
	_, _ = rand.Read(log[:])
	return log
}

// stop ends a case: what follows would only repeat what is already known.
type stop struct{}

func (c *check) runAndStop(run func(*check)) {
	defer func() {
		if v := recover(); v != nil && v != (stop{}) {
			panic(v)
		}
	}()
	run(c)
}

// branch names a new branch, higher than all before it.
func (c *check) branch() branch {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	return c.at(c.log, 3, c.seq)
}

func (c *check) branches(n int) (all []branch) {
	for range n {
		all = append(all, c.branch())
	}
	return all
}

func (c *check) at(log dtc.LogID, incarnation uint32, seq uint64) branch {
	// An incarnation has one nonce, however often it is named.
	nonce := binary.BigEndian.Uint32(log[:4]) + incarnation
	x := dtc.XID{Log: log, Incarnation: dtc.Incarnation{Number: incarnation, Nonce: nonce}, Seq: seq}
	return branch{txID: fmt.Sprintf("conformance-%s-%d-%d", log, incarnation, seq), xid: x, payload: c.s.Payload}
}

func (c *check) mayHold(b branch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.held, func(h branch) bool { return h.xid == b.xid }) {
		c.held = append(c.held, b)
	}
}

// tidy rolls back what the case may have left prepared, also when it was
// interrupted, and lets the rows of its log go.
func (c *check) tidy() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), c.s.Timeout)
	defer cancel()
	logs := map[dtc.LogID]dtc.XID{}
	for _, b := range c.held {
		b.extra, b.attempt = "", 1
		c.post(ctx, verbRollback, b, c.body(verbRollback, b)) // 409 if it was committed
		if old := logs[b.xid.Log]; old.IsZero() || old.Compare(b.xid) < 0 {
			logs[b.xid.Log] = b.xid
		}
	}
	for log, x := range logs {
		b := c.at(log, x.Incarnation.Number+1, 1)
		b.lowWater = b.xid
		c.post(ctx, verbRollback, b, c.body(verbRollback, b))
	}
}

// fail notes that something is wrong.
func (c *check) fail(sent, got, want, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := Finding{Sent: sent, Got: got, Want: want, Why: why}
	for _, old := range c.findings {
		if old.Want == f.Want && old.Got == f.Got {
			return // one of several calls that are alike
		}
	}
	c.findings = append(c.findings, f)
}

func (c *check) must(ok bool) {
	if !ok {
		panic(stop{})
	}
}

// skip notes what of the case was not tried, and why.
func (c *check) skip(text string) { c.notTried = append(c.notTried, text) }

// persist makes a call until it is answered, as often as a coordinator would in a
// moment. The last answer may still be none.
func (c *check) persist(verb string, b branch) (a answer) {
	pause := 20 * time.Millisecond
	for b.attempt = 1; ; b.attempt++ {
		a = c.call(verb, b)
		if !a.silence() || b.attempt == 5 || c.ctx.Err() != nil {
			return a
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// prepare asks for a vote, and wants that one.
func (c *check) prepare(b branch, want, when, why string) bool {
	a := c.persist(verbPrepare, b)
	vote, err := a.vote()
	switch {
	case err != nil:
		c.fail(a.sent, a.got(), when+": "+want+" in a 200 with {\"vote\": …}; but "+err.Error(), why)
	case vote != want:
		c.fail(a.sent, a.got(), when+": "+want, why)
	}
	return err == nil && vote == want
}

// mustPrepare prepares a new branch.
func (c *check) mustPrepare(b branch) {
	c.must(c.prepare(b, voteCommit, "a new branch with a payload that can be done", whyNoVote))
}

func (c *check) prepared() branch {
	b := c.branch()
	c.mustPrepare(b)
	return b
}

// refuses sends a prepare that comes too late.
func (c *check) refuses(b branch, when string) {
	a := c.persist(verbPrepare, b)
	vote, err := a.vote()
	want := when + ": vote_abort, or a 4xx that is a definite no"
	switch {
	case err != nil:
		c.fail(a.sent, a.got(), want+"; but "+err.Error(), whyLatePrepare)
	case vote == voteCommit || vote == voteReadOnly:
		c.fail(a.sent, a.got(), want, whyLatePrepare)
	default:
		c.notListed(b, when+", and a prepare after that", whyLatePrepare)
	}
}

// finish wants a commit or rollback acknowledged.
func (c *check) finish(verb string, b branch, when, why string) bool {
	a := c.persist(verb, b)
	if !a.done() {
		c.fail(a.sent, a.got(), when+": any 2xx", why)
	}
	return a.done()
}

func (c *check) mustCommit(b branch) {
	c.must(c.finish(verbCommit, b, "a prepared branch", whyCommitFails))
}

func (c *check) mustRollback(b branch) {
	c.must(c.finish(verbRollback, b, "a branch that was not committed", whyRollbackFails))
}

// observed is what can be seen of the effects, or nothing.
type observed struct {
	text string
	ok   bool
}

// look observes the effects.
func (c *check) look() observed {
	if c.s.Observe == nil {
		return observed{}
	}
	text, err := c.s.Observe(c.ctx)
	if err != nil {
		c.fail("the command that shows the effects", err.Error(), "that it works", "without it the effects cannot be compared")
		panic(stop{})
	}
	return observed{text: text, ok: true}
}

// same wants the effects as they were.
func (c *check) same(was observed, when, why string) {
	if !was.ok {
		return
	}
	if now := c.look(); now.text != was.text {
		c.fail(when+", and a look at the effects", shorten(now.text, 300), "the effects as before: "+shorten(was.text, 300), why)
	}
}

// sameStep wants the effects to have changed from one look to the next as they
// changed between two others. Only numbers can tell.
func (c *check) sameStep(a, b, x, y observed, when, why string) {
	once, now := step(a, b), step(x, y)
	if once != nil && now != nil && !slices.Equal(once, now) {
		c.fail(when+", and a look at the effects", fmt.Sprintf("the numbers changed by %v", now),
			fmt.Sprintf("by %v, as after one call", once), why)
	}
}

var number = regexp.MustCompile(`-?\d+(\.\d+)?`)

func step(a, b observed) (diff []float64) {
	from, to := number.FindAllString(a.text, -1), number.FindAllString(b.text, -1)
	if !a.ok || len(from) != len(to) {
		return nil
	}
	for i := range from {
		x, _ := strconv.ParseFloat(from[i], 64)
		y, _ := strconv.ParseFloat(to[i], 64)
		diff = append(diff, y-x)
	}
	return diff
}

// unseen says that nothing but answers can be seen.
func (c *check) unseen() {
	if c.s.Observe == nil {
		c.skip("what the calls do to the data: give --observe COMMAND")
	}
}

// atOnce makes n calls at the same time.
func (c *check) atOnce(n int, call func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			call(i)
		})
	}
	close(start)
	wg.Wait()
}
