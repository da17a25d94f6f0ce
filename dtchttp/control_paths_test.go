package dtchttp_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// TestControlPayload: a payload arrives as it was sent, to the byte; null is none.
func TestControlPayload(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	var mu sync.Mutex
	got := map[string]string{}
	for _, m := range a.members {
		m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			mu.Lock()
			defer mu.Unlock()
			got[b.Participant] = string(b.Payload)
			return dtc.VoteReadOnly, nil
		}
	}
	most := `"` + strings.Repeat("x", dtc.MaxPayload-2) + `"`
	for _, payload := range []string{
		`{ "a" :  [ 1 ,2 ] }`, `"<script>&amp;\u003c\/\ud83d\ude00é</script>"`, `12345678901234567890123.4500e+10`, `-0`,
		`{"b":1,"a":2,"b":3}`, `""`, `[]`, `false`, "{\n\t\"x\" : \"\\\"}\"\n}", most,
	} {
		a.want("POST", "/v1/transactions", `{"branches":[{"participant":"orders","payload":`+payload+`}]}`, 200, map[string]any{"committed": true})
		if got["orders"] != payload {
			t.Errorf("%.200s arrived as %.200s", payload, got["orders"])
		}
		tx := a.want("POST", "/v1/transactions/begin", "", 201, nil)
		path := "/v1/transactions/" + tx["id"].(string)
		a.want("POST", path+"/branches", `{"payload": `+payload+` ,"participant":"payment"}`, 201, nil)
		a.want("POST", path+"/commit", "", 200, map[string]any{"committed": true})
		if got["payment"] != payload {
			t.Errorf("%.200s arrived as %.200s by steps", payload, got["payment"])
		}
	}
	a.want("POST", "/v1/transactions", `{"branches":[{"participant":"orders","payload":null}]}`, 200, map[string]any{"committed": true})
	if got["orders"] != "" {
		t.Errorf("null arrived as %q", got["orders"])
	}
}

// TestControlPaths: an id is whatever the caller calls it, also in a path.
func TestControlPaths(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
	for id, path := range map[string]string{
		"a/b": "a%2Fb", "50%": "50%25", "%2F": "%252F", "größe": "gr%C3%B6%C3%9Fe", "日本": "日本", "a?b#c": "a%3Fb%23c",
		"begin": "begin", "..": "%2e%2e", ".": ".", "a+b": "a+b", "x;y=1": "x;y=1", "{id}": "%7Bid%7D", "😀": "%F0%9F%98%80",
		strings.Repeat("y", 128): strings.Repeat("y", 128),
	} {
		text, _ := json.Marshal(id)
		a.want("POST", "/v1/transactions", `{"id":`+string(text)+`,`+order+`}`, 200, map[string]any{"id": id, "committed": true})
		a.want("GET", "/v1/transactions/"+path, "", 200, map[string]any{"id": id, "committed": true})
		a.want("POST", "/v1/transactions/"+path+"/rollback", "", 409, map[string]any{"code": "tx_conflict"})
	}
	for _, path := range []string{"a%20b", "%00", "%FF", "%E2%80%8B", strings.Repeat("y", 129), "a%0Ab"} {
		a.want("GET", "/v1/transactions/"+path, "", 400, map[string]any{"code": "bad_request", "field": "id"})
		for _, call := range []string{"branches", "commit", "rollback", "retry", "branches/orders/resolve"} {
			a.want("POST", "/v1/transactions/"+path+"/"+call, "{}", 400, map[string]any{"code": "bad_request", "field": "id"})
		}
	}
	for _, path := range []string{"", "/", "/v1", "/v2/transactions", "/v1/transactions/a/b", "/v1/transactions/a/commit/", "//v1/transactions", "/v1/transactions/a/branches/b", "/v1/branches/x"} {
		status, answer := a.call("POST", path, "")
		if status != 404 || answer["code"] != "not_found" {
			t.Errorf("%q: %d %v", path, status, answer)
		}
	}
}
