package dtchttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

// api is a control API over a real coordinator, with its participants.
type api struct {
	*httptest.Server // nil: the handler is called directly
	t                testing.TB
	c                *dtc.Coordinator
	h                *dtchttp.ControlHandler
	members          []*dtctest.Memory
	log              *lockedBuffer
	token            string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newAPI serves inventory, payment and orders.
func newAPI(t testing.TB, cfg dtc.Config, opts dtchttp.ControlOptions) *api {
	t.Helper()
	a := &api{t: t, log: new(lockedBuffer)}
	for _, id := range []string{"inventory", "payment", "orders"} {
		m := dtctest.NewMemory(id)
		a.members = append(a.members, m)
		cfg.Participants = append(cfg.Participants, m)
	}
	logger := slog.New(slog.NewTextHandler(a.log, nil))
	cfg.Logger, opts.Logger = logger, logger
	c, err := dtc.Open(t.TempDir(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	a.c, a.h = c, dtchttp.NewControlHandler(&opts)
	a.h.Use(c)
	a.Server = httptest.NewServer(a.h)
	t.Cleanup(a.Server.Close)
	return a
}

// call makes a request, and returns the status and the answer, which must be JSON of
// the right kind.
func (a *api) call(method, path, body string) (int, map[string]any) {
	a.t.Helper()
	status, _, answer := a.full(method, path, body)
	return status, answer
}

func (a *api) full(method, path, body string) (int, http.Header, map[string]any) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.base()+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.send(r)
}

// send makes a request that the caller has made up.
func (a *api) send(r *http.Request) (int, http.Header, map[string]any) {
	a.t.Helper()
	method, path := r.Method, r.URL.Path
	resp, err := a.do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	want := "application/json"
	if resp.StatusCode >= 400 {
		want = "application/problem+json"
	}
	answer := map[string]any{}
	if got := resp.Header.Get("Content-Type"); got != want {
		a.t.Errorf("%s %s: %d is %s: %s", method, path, resp.StatusCode, got, text)
	} else if err := json.Unmarshal(text, &answer); err != nil {
		a.t.Errorf("%s %s: %v: %s", method, path, err, text)
	}
	if resp.StatusCode >= 400 && (answer["status"] != float64(resp.StatusCode) || answer["code"] == "" || answer["detail"] == "") {
		a.t.Errorf("%s %s: %s", method, path, text)
	}
	return resp.StatusCode, resp.Header, answer
}

// want makes a request and checks the status and some members of the answer, which are
// named by paths such as "branches.0.state".
func (a *api) want(method, path, body string, status int, members map[string]any) map[string]any {
	a.t.Helper()
	got, answer := a.call(method, path, body)
	if got != status {
		a.t.Errorf("%s %s %s: %d, want %d: %v", method, path, body, got, status, answer)
	}
	for name, want := range members {
		if got := at(answer, name); got != want {
			a.t.Errorf("%s %s %s: %s is %v, want %v: %v", method, path, body, name, got, want, answer)
		}
	}
	return answer
}

func at(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

const order = `"branches":[{"participant":"inventory","payload":{"sku":"anvil"}},{"participant":"payment"}]`

// TestControlRun: a transaction in one request, its document, and its repetition.
func TestControlRun(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
	var payloads sync.Map
	for _, m := range a.members {
		m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			payloads.Store(b.Participant, string(b.Payload))
			if b.TxID == "no" && b.Participant == "payment" {
				return dtc.VoteAbort, errors.New("no money")
			}
			return dtc.VoteCommit, nil
		}
	}
	yes := a.want("POST", "/v1/transactions", `{"id":"yes",`+order+`}`, 200, map[string]any{
		"id": "yes", "state": "committed", "outcome": "committed", "committed": true, "reason": nil, "remembered_since": nil,
		"branches.0.participant": "inventory", "branches.0.vote": "vote_commit", "branches.0.state": "committed", "branches.0.attempts": 1.0,
		"branches.0.last_error": "", "branches.0.next_attempt": nil,
	})
	for _, name := range []string{"xid", "started", "decided", "ended"} {
		if s, ok := yes[name].(string); !ok || s == "" {
			t.Errorf("%s is %v", name, yes[name])
		}
	}
	if p, _ := payloads.Load("inventory"); p != `{"sku":"anvil"}` {
		t.Errorf("the payload is %v", p)
	}
	a.want("POST", "/v1/transactions", `{"id":"no",`+order+`}`, 200, map[string]any{
		"state": "rolled_back", "outcome": "rolled_back", "committed": false,
		"reason.code": "vote_abort", "reason.participant": "payment", "reason.message": "no money",
	})
	a.want("POST", "/v1/transactions", `{"id":"yes",`+order+`}`, 200, map[string]any{"xid": yes["xid"], "committed": true})
	a.want("GET", "/v1/transactions/yes", "", 200, map[string]any{"xid": yes["xid"], "committed": true, "branches.1.state": "committed"})
	a.want("POST", "/v1/transactions", `{"id":"yes","branches":[{"participant":"orders"}]}`, 409, map[string]any{"code": "tx_conflict"})
	a.want("GET", "/v1/transactions/never", "", 404, map[string]any{"code": "unknown_transaction", "remembered_since": nil})
	made := a.want("POST", "/v1/transactions", `{`+order+`}`, 200, map[string]any{"committed": true})
	if id, _ := made["id"].(string); len(id) < 20 {
		t.Errorf("the id that was made is %q", id)
	}
}

// TestControlSteps: begun, grown, committed or rolled back by requests of their own.
func TestControlSteps(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
	tx := a.want("POST", "/v1/transactions/begin", `{"id":"a/b","timeout":"5s"}`, 201, map[string]any{"state": "active", "outcome": nil, "committed": nil})
	a.want("POST", "/v1/transactions/begin", `{"id":"a/b"}`, 200, map[string]any{"xid": tx["xid"]})
	a.want("POST", "/v1/transactions/a%2Fb/branches", `{"participant":"orders","payload":[1]}`, 201, map[string]any{"xid": tx["xid"], "branch": "orders"})
	a.want("POST", "/v1/transactions/a%2Fb/branches", `{"participant":"orders","payload":[ 1 ]}`, 200, map[string]any{"xid": tx["xid"]})
	a.want("POST", "/v1/transactions/a%2Fb/branches", `{"participant":"orders"}`, 409, map[string]any{"code": "tx_conflict"})
	a.want("POST", "/v1/transactions/a%2Fb/branches", `{"participant":"nobody"}`, 400, map[string]any{"code": "bad_request", "participant": "nobody", "field": "participant"})
	a.want("POST", "/v1/transactions/a%2Fb/commit", "", 200, map[string]any{"id": "a/b", "committed": true, "branches.0.state": "committed"})
	a.want("POST", "/v1/transactions/a%2Fb/commit", "{}", 200, map[string]any{"committed": true})
	a.want("POST", "/v1/transactions/a%2Fb/rollback", "", 200, map[string]any{"committed": true})
	a.want("POST", "/v1/transactions/begin", `{"id":"a/b"}`, 409, map[string]any{"code": "tx_conflict"})
	a.want("POST", "/v1/transactions/a/b/commit", "", 404, map[string]any{"code": "not_found"})
	made := a.want("POST", "/v1/transactions/begin", "", 201, nil)
	a.want("POST", "/v1/transactions/"+made["id"].(string)+"/rollback", "", 200, map[string]any{"committed": false, "reason.code": "cancelled"})
	a.want("POST", "/v1/transactions/never/commit", "", 404, map[string]any{"code": "unknown_transaction"})
	a.want("POST", "/v1/transactions/never/rollback", "", 404, map[string]any{"code": "unknown_transaction"})
}
