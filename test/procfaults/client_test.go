package procfaults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// shapes are drawn from, so what stands here twice comes twice as often.
var shapes = []string{"www", "www", "www", "ww-", "ww-", "w-w", "wwr", "nww", "wwn"}

var clients atomic.Int64 // of this process, for ids

// client posts transactions, one at a time.
type client struct {
	*ledger
	http     *http.Client
	number   int64
	made     int
	fresh    bool // posts no id again
	patience time.Duration
}

func (l *ledger) newClient() *client {
	return &client{
		ledger: l, number: clients.Add(1), patience: 4 * time.Second,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
}

// load has so many clients at work until the returned function is called.
func (l *ledger) load(n int) (stop func()) { return l.loadWith(n, false) }

func (l *ledger) loadWith(n int, fresh bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c := l.newClient()
			c.fresh = fresh
			c.work(ctx)
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (c *client) work(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	for ctx.Err() == nil {
		id := c.pick(rand.IntN(1 << 20))
		if id == "" || c.fresh {
			id = c.newID(shapes[rand.IntN(len(shapes))])
		}
		answered := ctx
		if c.fresh { // nobody will ask what became of what was given up
			answered = context.WithoutCancel(ctx)
		}
		rest := 5 * time.Millisecond // who asks all the time takes the processor from what is tried
		if !c.post(answered, id) {
			c.owed(id)
			rest = 20 * time.Millisecond // it does not help to ask at once
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
}

func (c *client) newID(shape string) dtc.TxID {
	c.made++
	id := dtc.TxID(fmt.Sprintf("%d.%d.%s", c.number, c.made, shape))
	c.begins(id)
	return id
}

// answer is what any answer may hold that a client looks at.
type answer struct {
	Outcome *string
	Code    string
	Detail  string
	status  int
}

// post posts a transaction and reports whether its outcome was told.
func (c *client) post(ctx context.Context, id dtc.TxID) bool {
	type branch struct {
		Participant string          `json:"participant"`
		Payload     json.RawMessage `json:"payload"`
	}
	var branches []branch
	for i, kind := range oracle.ShapeOf(id) {
		if kind != oracle.Absent {
			branches = append(branches, branch{services[i], json.RawMessage(oracle.Payload(kind))})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	a, err := call(ctx, c.http, http.MethodPost, *c.url.Load()+"/v1/transactions",
		map[string]any{"id": id, "branches": branches, "completion_wait": "20ms"})
	switch {
	case err != nil:
		c.add(&c.lost)
	case a.status == http.StatusOK && a.Outcome != nil:
		c.tells(id, *a.Outcome)
		return true
	case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
		c.add(&c.notNow)
	default:
		c.fail("%s: answered %d %s: %s", id, a.status, a.Code, a.Detail)
	}
	return false
}

// call makes one request, and returns an answer that is whole, or an error.
func call(ctx context.Context, h *http.Client, method, url string, body any) (a answer, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return a, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	req.GetBody = nil // whether it is sent again is for the client to say
	req.Header.Set("Content-Type", "application/json")
	res, err := h.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(res.Body); err != nil {
		return a, err
	}
	a.status = res.StatusCode
	return a, json.Unmarshal(text, &a)
}
