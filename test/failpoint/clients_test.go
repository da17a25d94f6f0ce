package failpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/failpoint/internal/node"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// clients post transactions to one life of a server, until it is gone.
type clients struct {
	*world
	p    *process
	url  string
	http *http.Client
}

func newClients(w *world, p *process) *clients {
	return &clients{world: w, p: p, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 10 * time.Second}}
}

// greeted waits until the server says where it is. It is false if it is gone.
func (c *clients) greeted() bool {
	line, ok := <-c.p.lines
	if !ok {
		return false
	}
	var greeting struct{ URL string }
	if err := json.Unmarshal([]byte(line), &greeting); err != nil || greeting.URL == "" {
		c.fail("the server says %q", line)
		return false
	}
	c.url = greeting.URL
	return true
}

func (c *clients) gone() bool {
	select {
	case <-c.p.gone:
		return true
	default:
		return false
	}
}

type reply struct {
	XID          string  `json:"xid"`
	Outcome      *string `json:"outcome"`
	Code         string  `json:"code"`
	Detail       string  `json:"detail"`
	Transactions []any   `json:"transactions"`
	status       int
}

// call makes one request. It reports false if the server is gone, or there is no whole
// answer.
func (c *clients) call(method, path string, body any) (reply, bool) {
	var r reply
	text, err := json.Marshal(body)
	if err != nil {
		c.fail("%v", err)
		return r, false
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.url+path, bytes.NewReader(text))
	if err != nil {
		c.fail("%v", err)
		return r, false
	}
	req.GetBody = nil // it is not sent again unseen
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return r, false
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(text, &r) != nil {
		return r, false
	}
	r.status = res.StatusCode
	return r, true
}

// settle waits until nothing is unfinished. It is false if the server is gone.
func (c *clients) settle() bool {
	for ; !c.gone(); time.Sleep(3 * time.Millisecond) {
		r, ok := c.call(http.MethodGet, "/v1/transactions", nil)
		if !ok || r.status != http.StatusOK || len(r.Transactions) > 0 {
			continue
		}
		prepared := 0
		for i := range node.Services {
			db, err := node.OpenDatabase(c.dir, i)
			if err != nil {
				c.fail("%v", err)
				return false
			}
			n, err := oracle.Prepared(db)
			if err != nil {
				c.fail("%v", err)
			}
			prepared += n
			_ = db.Close()
		}
		if prepared == 0 {
			return true
		}
	}
	return false
}

// shapes are what clients post, over and over again. Every fourth is grown by steps, and
// every eighth of those never ended.
var shapes = []string{"www-", "wwww", "ww-w", "w-w-", "nww-", "wwr-", "---w", "-ww-", "rr--", "w--w"}

func (c *clients) work(n int) {
	defer c.http.CloseIdleConnections()
	life := c.life
	if n > 0 {
		for _, id := range c.owed() {
			c.post(id)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !c.gone() {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if i == n/2 { // read the configuration again
					_ = c.p.cmd.Process.Signal(syscall.SIGHUP)
				}
				shape := shapes[i%len(shapes)]
				switch {
				case i%16 == 3:
					c.grow(node.NewID(life, i, node.Expired, shape))
				case i%4 == 3:
					c.grow(node.NewID(life, i, node.Steps, shape))
				default:
					c.post(node.NewID(life, i, node.Whole, shape))
				}
			}
		})
	}
	wg.Wait()
}

func branches(id dtc.TxID) (all []any) {
	for i, kind := range oracle.ShapeOf(id) {
		if kind != oracle.Absent {
			all = append(all, map[string]any{"participant": node.Services[i], "payload": json.RawMessage(oracle.Payload(kind))})
		}
	}
	return all
}

// post posts a whole transaction, once.
func (c *clients) post(id dtc.TxID) {
	c.started(id)
	r, ok := c.call(http.MethodPost, "/v1/transactions", map[string]any{"id": id, "branches": branches(id)})
	if ok {
		c.heard(id, r)
	}
}

// grow grows a transaction by steps, and commits it; or lets its time pass. A step that
// is not answered is not repeated: it is as if the client had died.
func (c *clients) grow(id dtc.TxID) {
	c.started(id)
	body := map[string]any{"id": id}
	if node.FlagOf(id) == node.Expired {
		body["timeout"] = "20ms"
	}
	r, ok := c.call(http.MethodPost, "/v1/transactions/begin", body)
	path := "/v1/transactions/" + string(id)
	for _, b := range branches(id) {
		if !ok || r.status > http.StatusCreated {
			break
		}
		r, ok = c.call(http.MethodPost, path+"/branches", b)
	}
	switch {
	case !ok:
	case node.FlagOf(id) == node.Expired && (r.status <= http.StatusCreated || r.status == http.StatusConflict):
	case r.status > http.StatusCreated:
		c.heard(id, r)
	default:
		if r, ok = c.call(http.MethodPost, path+"/commit", map[string]any{}); ok {
			c.heard(id, r)
		}
	}
}

// heard takes in an answer.
func (c *clients) heard(id dtc.TxID, r reply) {
	switch {
	case r.status == http.StatusOK && r.Outcome != nil:
		c.told(id, *r.Outcome, "")
	case r.status == http.StatusServiceUnavailable:
		c.told(id, "nothing", "")
	default:
		c.told(id, "error", fmt.Sprintf("%d %s %s", r.status, r.Code, r.Detail))
	}
}

// ask asks how everything ended.
func (c *clients) ask() {
	for _, id := range c.ids() {
		r, ok := c.call(http.MethodGet, "/v1/transactions/"+url.PathEscape(string(id)), nil)
		switch {
		case !ok:
			c.fail("%s: no answer to how it ended", id)
		case r.status == http.StatusNotFound && strings.HasPrefix(r.Code, "unknown"):
		case r.Outcome == nil:
			c.fail("%s: how it ended is answered with %d %s", id, r.status, r.Code)
		default:
			c.answered(id, *r.Outcome)
		}
	}
}
