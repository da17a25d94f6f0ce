package http_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

var quiet = slog.New(slog.DiscardHandler)

// coordinator opens a coordinator over inventory, payment and orders.
func coordinator(t *testing.T, cfg dtc.Config) (*dtc.Coordinator, []*dtctest.Memory) {
	t.Helper()
	var members []*dtctest.Memory
	for _, id := range []string{"inventory", "payment", "orders"} {
		m := dtctest.NewMemory(id)
		members = append(members, m)
		cfg.Participants = append(cfg.Participants, m)
	}
	cfg.Logger = quiet
	c, err := dtc.Open(t.TempDir(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, members
}

// authenticate knows a caller by a header that names a role.
func authenticate(r *http.Request) (dtchttp.Caller, error) {
	role := r.Header.Get("X-Role")
	switch role {
	case "nobody":
		return dtchttp.Caller{}, errors.New("a bearer token is required")
	case "fault":
		panic("meant")
	case "": // what is not about roles
		role = "operator"
	}
	return dtchttp.Caller{Name: role, Roles: []dtchttp.Role{dtchttp.Role(role)}}, nil
}

// TestOpenAPI holds the description of the control API against the server.
func TestOpenAPI(t *testing.T) {
	s := load(t, "openapi.yaml")
	t.Run("transactions", func(t *testing.T) { transactions(t, s) })
	t.Run("operators", func(t *testing.T) { operators(t, s) })
	t.Run("every operation", func(t *testing.T) { everywhere(t, s) })
	t.Run("refused", func(t *testing.T) { refused(t, s) })
	t.Run("failing log", func(t *testing.T) { failingLog(t, s) })
	t.Run("found", func(t *testing.T) { found(t, s) })
	t.Run("documents", func(t *testing.T) { documents(t, s) })
	t.Run("process", func(t *testing.T) { process(t, s) })
	s.complete(map[string]string{
		"GET /metrics 503":              "more than four have to read them at one moment, which cannot be arranged from outside",
		"GET /metrics 401 unauthorized": "the test of the server with tokens sees it: cmd/dtc/servetls_test.go",
		"GET /metrics 403 forbidden":    "the same",
	})
}

// transactions are run, grown, and asked for.
func transactions(t *testing.T, s *spec) {
	coord, members := coordinator(t, dtc.Config{KeepEnded: 100})
	members[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		switch b.TxID {
		case "no":
			return dtc.VoteAbort, dtc.Refuse(errors.New("no money"))
		case "look":
			return dtc.VoteReadOnly, nil
		}
		return dtc.VoteCommit, nil
	}
	h := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet, Describe: func(id string) (string, string) {
		return "http", "http://" + id + ".test/dtc"
	}})
	h.Use(coord)
	c := serve(t, s, h)
	const order = `"branches":[{"participant":"inventory","payload":{"sku":"anvil","more":[1,{"x":null}]}},{"participant":"payment"}]`

	yes := c.want(200, "POST", "/v1/transactions", `{"id":"a/b",`+order+`,"prepare_timeout":"1m30s","completion_wait":"0s"}`, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	c.want(200, "POST", "/v1/transactions", `{"id":"no",`+order+`}`)
	c.want(200, "POST", "/v1/transactions", `{"id":"look",`+order+`}`)
	c.want(200, "POST", "/v1/transactions", `{"id":null,`+order+`,"prepare_timeout":null,"completion_wait":".5h"}`)
	c.want(409, "POST", "/v1/transactions", `{"id":"a/b","branches":[{"participant":"orders"}]}`)
	c.want(413, "POST", "/v1/transactions", `{"branches":[{"participant":"orders","payload":"`+strings.Repeat("x", dtc.MaxPayload)+`"}]}`)
	c.want(400, "POST", "/v1/transactions", `{"branches":[{"participant":"nobody"}]}`) // which no file can know
	c.bad("POST", "/v1/transactions", `{}`, `{"branches":null}`, `{"branches":[]}`, `{"branches":[{}]}`, `{"branches":[{"participant":null}]}`,
		`{"branches":[{"participant":"a b"}]}`, `{"branches":[{"participant":"`+strings.Repeat("x", 65)+`"}]}`, `{"branches":[{"participant":"orders","url":"x"}]}`,
		`{"branches":[`+strings.Repeat(`{"participant":"orders"},`, 1000)+`{"participant":"orders"}]}`,
		`{"id":"",`+order+`}`, `{"id":"a b",`+order+`}`, `{"id":"`+strings.Repeat("x", 129)+`",`+order+`}`, `{"id":7,`+order+`}`,
		`{"prepare_timeout":"5",`+order+`}`, `{"prepare_timeout":"-5s",`+order+`}`, `{"prepare_timeout":5,`+order+`}`, `{"prepare_timeout":"",`+order+`}`, `{"completion_wait":"soon",`+order+`}`)

	c.want(201, "POST", "/v1/transactions/begin", "")
	steps, _ := c.want(201, "POST", "/v1/transactions/begin", `{"id":"steps","timeout":"1h"}`)["xid"].(string)
	other, _ := yes["xid"].(string)
	for _, call := range [][2]string{{"branches", `"participant":"orders",`}, {"commit", ""}, {"rollback", ""}} {
		c.want(409, "POST", "/v1/transactions/steps/"+call[0], `{`+call[1]+`"xid":"`+other+`"}`)
		c.bad("POST", "/v1/transactions/steps/"+call[0], `{`+call[1]+`"xid":"x"}`)
	}
	c.want(201, "POST", "/v1/transactions/steps/branches", `{"participant":"inventory","xid":null}`)
	c.want(200, "POST", "/v1/transactions/begin", `{"id":"steps"}`)
	c.want(409, "POST", "/v1/transactions/begin", `{"id":"a/b"}`)
	c.bad("POST", "/v1/transactions/begin", `{"id":""}`, `{"timeout":"1"}`, `{"branches":[]}`)
	c.want(201, "POST", "/v1/transactions/steps/branches", `{"participant":"orders","payload":[1],"xid":"`+steps+`"}`)
	c.want(200, "POST", "/v1/transactions/steps/branches", `{"participant":"orders","payload":[ 1 ]}`)
	c.want(409, "POST", "/v1/transactions/steps/branches", `{"participant":"orders"}`)
	c.want(404, "POST", "/v1/transactions/never/branches", `{"participant":"orders"}`)
	c.bad("POST", "/v1/transactions/steps/branches", ``, `{}`, `{"participant":""}`, `{"participant":"a/b"}`)
	c.want(200, "GET", "/v1/transactions?state=active&participant=orders", "")
	c.want(200, "POST", "/v1/transactions/steps/commit", `{"prepare_timeout":"5s","completion_wait":"1s","xid":"`+steps+`"}`)
	c.want(200, "POST", "/v1/transactions/steps/commit", "")
	c.want(200, "POST", "/v1/transactions/steps/rollback", "{}")
	c.bad("POST", "/v1/transactions/steps/commit", `{"timeout":"1s"}`, `{"completion_wait":"-5s"}`)
	c.bad("POST", "/v1/transactions/steps/rollback", `{"reason":"x"}`)
	c.bad("POST", "/v1/transactions/a%20b/rollback", ``)
	for _, verb := range []string{"commit", "rollback"} {
		c.want(409, "POST", "/v1/transactions/a%2Fb/"+verb, "") // not begun by steps
		c.want(404, "POST", "/v1/transactions/never/"+verb, "")
	}

	c.want(200, "GET", "/v1/transactions/a%2Fb", "")
	c.want(200, "HEAD", "/v1/transactions/a%2Fb", "")
	c.want(404, "GET", "/v1/transactions/never", "")
	c.bad("GET", "/v1/transactions/a%20b", "")
	c.want(200, "GET", "/v1/transactions", "")
	for _, state := range []string{"committed", "rolled_back", "heuristic"} {
		c.want(200, "GET", "/v1/transactions?state="+state, "")
	}
	page := c.want(200, "GET", "/v1/transactions?state=committed&limit=1", "")
	next, _ := page["next"].(string)
	c.want(200, "GET", "/v1/transactions?state=committed&limit=1000&after="+next, "")
	for _, query := range []string{"state=done", "limit=0", "limit=1001", "limit=x", "participant=a+b", "after=x", "order=asc"} {
		c.bad("GET", "/v1/transactions?"+query, "")
	}

	xid, _ := yes["xid"].(string)
	c.want(200, "GET", "/v1/branches/"+xid+"/inventory", "")
	c.want(404, "GET", "/v1/branches/dtc.aaaaaaaaaaaaaaaa.1-00000000.1/inventory", "")
	c.bad("GET", "/v1/branches/x/inventory", "")
	c.bad("GET", "/v1/branches/"+xid+"/a%20b", "")
	c.want(200, "GET", "/v1/participants", "")
	c.want(200, "GET", "/v1/participants?limit=1", "")
	c.want(200, "GET", "/v1/participants?limit=2&after=inventory", "")
	c.bad("GET", "/v1/participants?limit=1001", "")
	c.bad("GET", "/v1/participants?state=up", "")
	c.want(200, "GET", "/livez", "")
	c.want(200, "GET", "/readyz", "")
	c.want(200, "GET", "/readyz?verbose", "")
}

// operators look after branches that are stuck.
func operators(t *testing.T, s *spec) {
	coord, members := coordinator(t, dtc.Config{OutcomeLimit: 1})
	members[1].OnCommit = func(context.Context, dtc.Branch) error { return errors.New("the row is locked") }
	h := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet})
	h.Use(coord)
	c := serve(t, s, h)
	for _, id := range []string{"with", "against"} {
		c.want(200, "POST", "/v1/transactions", `{"id":"`+id+`","completion_wait":"0s","branches":[{"participant":"orders"},{"participant":"payment"}]}`)
		c.want(202, "POST", "/v1/transactions/"+id+"/retry", "")
	}
	c.want(202, "POST", "/v1/transactions/with/retry", "{}")
	c.want(404, "POST", "/v1/transactions/never/retry", "")
	c.bad("POST", "/v1/transactions/with/retry", `{"now":true}`)
	c.want(200, "GET", "/v1/transactions", "")
	c.want(200, "GET", "/v1/participants", "")
	const path = "/v1/transactions/against/branches/payment/resolve"
	c.bad("POST", path, ``, `{}`, `{"outcome":"committed"}`, `{"outcome":"committed","reason":""}`, `{"outcome":"heuristic","reason":"x"}`, `{"reason":"x"}`,
		`{"outcome":"committed","reason":"`+strings.Repeat("x", 1025)+`"}`, `{"outcome":"committed","reason":"x","force":true}`)
	c.want(404, "POST", "/v1/transactions/never/branches/payment/resolve", `{"outcome":"committed","reason":"x"}`)
	c.want(200, "POST", path, `{"outcome":"rolled_back","reason":"it burnt down"}`)
	c.want(200, "POST", "/v1/transactions/with/branches/payment/resolve", `{"outcome":"committed","reason":"`+strings.Repeat("x", 1024)+`"}`)
	// One more makes the server forget the first.
	c.want(200, "POST", "/v1/transactions", `{"id":"last","branches":[{"participant":"orders"}]}`)
	c.want(200, "GET", "/v1/transactions/last", "")
	c.until(404, "GET", "/v1/transactions/against")
}
