package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// client posts transactions, one at a time, as an application would that knows nothing
// but the HTTP contract.
type client struct {
	*ledger
	url    string
	http   *http.Client
	rng    *rand.Rand
	number int
	made   int
}

// shapes are drawn from, so what stands here twice comes twice as often.
var shapes = []string{
	"www", "www", "www", "www", "www", "www", "www", "ww-", "-ww", "w-w",
	"wwr", "rww", "nww", "wwn",
}

// reply is what any answer may hold that a client looks at.
type reply struct {
	ID      dtc.TxID `json:"id"`
	XID     string   `json:"xid"`
	Outcome *string  `json:"outcome"`
	Code    string   `json:"code"`
	Detail  string   `json:"detail"`
	status  int
}

func newClient(l *ledger, url string, seed uint64, number int) *client {
	return &client{
		ledger: l, url: url, number: number, rng: rand.New(rand.NewPCG(seed, uint64(number))),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}},
	}
}

// work runs transactions until ctx ends. What is under way then is as good as lost.
func (c *client) work(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	for ctx.Err() == nil {
		switch id, shape := c.pick(); {
		case id != "":
			c.whole(ctx, id, shape)
		case c.rng.IntN(3) == 0:
			c.grow(ctx)
		case c.rng.IntN(4) == 0:
			c.look(ctx)
		default:
			id := c.newID()
			c.begins(id, oracle.ShapeOf(id), false)
			c.whole(ctx, id, oracle.ShapeOf(id))
		}
	}
}

func (c *client) newID() dtc.TxID {
	c.made++
	return dtc.TxID(fmt.Sprintf("%d.%d.%s", c.number, c.made, shapes[c.rng.IntN(len(shapes))]))
}

// pick returns an id to post again, now and then: one whose answer was lost, or any of
// the last, which another client may be in.
func (c *client) pick() (dtc.TxID, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := dtc.TxID("")
	switch last := len(c.later) - 1; {
	case last >= 0 && c.rng.IntN(2) == 0:
		id, c.later = c.later[last], c.later[:last]
	case len(c.order) > 0 && c.rng.IntN(8) == 0:
		id = c.order[len(c.order)-1-c.rng.IntN(min(64, len(c.order)))]
	}
	if t := c.tales[id]; t != nil && !t.steps {
		return id, t.shape
	}
	return "", ""
}

// whole posts a transaction until there is an answer, or for some time.
func (c *client) whole(ctx context.Context, id dtc.TxID, shape string) {
	body := map[string]any{"id": id, "branches": branches(shape)}
	if c.rng.IntN(2) == 0 {
		body["completion_wait"] = "20ms"
	}
	for range 3 {
		q := c.asks()
		heard := c.history.Call(sim.Op{Kind: sim.OpExecute, Client: c.number, ID: string(id)})
		r, err := c.call(ctx, http.MethodPost, "/v1/transactions", body)
		heard(answer(r, err))
		switch {
		case err != nil:
			c.add(&c.lost)
		case r.status == http.StatusOK && r.Outcome != nil:
			c.tells(id, r.XID, *r.Outcome, q)
			return
		default:
			c.notNow(id, r)
		}
		c.pause(ctx)
	}
	c.owed(id)
}

// look asks how one of the last transactions ended, or whether it runs. What it hears is
// for the history alone.
func (c *client) look(ctx context.Context) {
	c.mu.Lock()
	id := dtc.TxID("")
	if n := len(c.order); n > 0 {
		id = c.order[n-1-c.rng.IntN(min(64, n))]
	}
	steps := id == "" || c.tales[id].steps
	c.mu.Unlock()
	if steps {
		return
	}
	heard := c.history.Call(sim.Op{Kind: sim.OpOutcome, Client: c.number, ID: string(id)})
	r, err := c.call(ctx, http.MethodGet, "/v1/transactions/"+string(id), nil)
	if a := answer(r, err); a != sim.NoAnswer && a != sim.Refused {
		heard(a)
		c.add(&c.asked)
	}
}

// answer is what a reply says about a transaction.
func answer(r reply, err error) sim.Answer {
	switch {
	case err != nil:
		return sim.NoAnswer
	case r.status == http.StatusNotFound:
		return sim.NotKnown
	case r.status == http.StatusConflict:
		return sim.Conflict
	case r.status != http.StatusOK:
		return sim.Refused
	case r.Outcome == nil:
		return sim.Unfinished
	}
	return answers[*r.Outcome]
}

var answers = map[string]sim.Answer{
	oracle.Committed: sim.Committed, oracle.RolledBack: sim.RolledBack, dtc.Heuristic.String(): sim.Heuristic,
}

// notNow takes an answer that is none: the server has no room, is starting, or does not
// know. Any other is a fault of it, or of this test.
func (c *client) notNow(id dtc.TxID, r reply) {
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		c.add(&c.refused)
		return
	}
	c.fail("%s: answered %d %s: %s", id, r.status, r.Code, r.Detail)
}

func branches(shape string) []any {
	var all []any
	for i, kind := range shape {
		if kind != oracle.Absent {
			all = append(all, branch(i, kind))
		}
	}
	return all
}

func branch(i int, kind rune) any {
	return map[string]any{"participant": services[i], "payload": json.RawMessage(oracle.Payload(kind))}
}

// grow runs a transaction by steps: it begins it, adds branches, and commits it or rolls
// it back.
//
// A begin that is delivered again after the server was killed begins another transaction
// of the same id; a careful client sees that by the XID in each answer, and lets it be.
func (c *client) grow(ctx context.Context) {
	id := c.newID()
	shape := oracle.ShapeOf(id)
	body := map[string]any{"timeout": "4s"}
	if c.rng.IntN(2) == 0 {
		body["id"] = id
		c.begins(id, shape, true)
	}
	r, ok := c.until(ctx, id, "/v1/transactions/begin", body, body["id"] != nil)
	if !ok || r.status == http.StatusConflict { // ended already, by its timeout
		return
	}
	if r.status > http.StatusCreated {
		c.fail("%s: begin answered %d %s", id, r.status, r.Code)
		return
	}
	if body["id"] == nil {
		id = r.ID
		c.begins(id, shape, true)
	}
	x := r.XID
	c.update(id, func(t *tale) { t.xid = x })
	for i, kind := range shape {
		if kind == oracle.Absent {
			continue
		}
		q := c.asks()
		r, ok := c.until(ctx, id, "/v1/transactions/"+string(id)+"/branches", branch(i, kind), true)
		if !ok || !c.still(id, x, r, q) {
			return
		}
	}
	verb, q := "commit", c.asks()
	if c.rng.IntN(5) == 0 {
		verb = "rollback"
	}
	c.update(id, func(t *tale) { t.full = true })
	r, ok = c.until(ctx, id, "/v1/transactions/"+string(id)+"/"+verb, map[string]any{}, true)
	if !ok || !c.still(id, x, r, q) || r.Outcome == nil {
		return
	}
	if verb == "rollback" && *r.Outcome != oracle.RolledBack {
		c.fail("%s: asked to roll back, it answered %s", id, *r.Outcome)
	}
	c.tells(id, x, *r.Outcome, q)
}

// still reports whether an answer is about the transaction that the client began and
// says that it goes on.
func (c *client) still(id dtc.TxID, x string, r reply, q asked) bool {
	switch {
	case r.status == http.StatusNotFound: // rolled back by its timeout or a restart
		c.add(&c.gone)
		c.tells(id, x, oracle.RolledBack, q)
	case r.status == http.StatusConflict: // it ended, by its timeout
		c.add(&c.gone)
	case r.status > http.StatusCreated:
		c.fail("%s: answered %d %s: %s", id, r.status, r.Code, r.Detail)
	case r.XID != x:
		c.add(&c.foreign)
	default:
		return true
	}
	return false
}

// until posts a step until there is an answer, or for some time.
func (c *client) until(ctx context.Context, id dtc.TxID, path string, body any, again bool) (reply, bool) {
	for range 5 {
		r, err := c.call(ctx, http.MethodPost, path, body)
		switch {
		case err != nil:
			c.add(&c.lost)
		case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
			c.notNow(id, r)
		default:
			return r, true
		}
		if !again {
			break
		}
		c.pause(ctx)
	}
	return reply{}, false
}

func (c *client) pause(ctx context.Context) {
	t := time.NewTimer(time.Duration(c.rng.IntN(200)) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// call makes one request and waits for its answer, more or less patiently.
func (c *client) call(ctx context.Context, method, path string, body any) (reply, error) {
	patience := time.Duration(300+c.rng.IntN(3000)) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return ask(ctx, c.http, method, c.url+path, body)
}

// ask makes one request. The answer may be any status, but it is a whole one.
func ask(ctx context.Context, h *http.Client, method, url string, body any) (reply, error) {
	var r reply
	text, err := json.Marshal(body)
	if err != nil {
		return r, err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return r, err
	}
	req.GetBody = nil // whether it is sent again is for the client to decide
	req.Header.Set("Content-Type", "application/json")
	res, err := h.Do(req)
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(res.Body); err != nil {
		return r, err
	}
	if r.status = res.StatusCode; len(text) == 0 {
		return r, errors.New("an answer without a body")
	}
	return r, json.Unmarshal(text, &r)
}
