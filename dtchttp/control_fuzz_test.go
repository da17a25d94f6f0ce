package dtchttp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// controlFields are the sets of fields that calls take.
var controlFields = [][]string{
	{"id", "branches", "prepare_timeout", "completion_wait"},
	{"id", "timeout"},
	{"participant", "payload", "xid"},
	{"prepare_timeout", "completion_wait", "xid"},
	{"outcome", "reason"},
	{},
}

// controlMeant is how encoding/json reads a body.
type controlMeant struct {
	XID            *string `json:"xid"`
	ID             *string
	Branches       []struct{ Participant, Payload json.RawMessage }
	Participant    *string
	Payload        json.RawMessage
	PrepareTimeout *string `json:"prepare_timeout"`
	CompletionWait *string `json:"completion_wait"`
	Timeout        *string
	Outcome        *string
	Reason         *string
}

// FuzzControlRequest: a body is refused as the client's fault, or means what
// encoding/json reads in it, and takes memory in proportion to its size.
func FuzzControlRequest(f *testing.F) {
	for i, body := range []string{
		`{"id":"t","branches":[{"participant":"orders","payload":{"a":[1e9999,"\ud800"]}},{"participant":"p"}],"prepare_timeout":"1s","completion_wait":"0s"}`,
		`{"id":"größe\u0021","timeout":"1h"}`, ` { "participant" : "o" , "payload" : "}\"]" } `, `{"prepare_timeout":null,"completion_wait":"250ms"}`,
		`{"outcome":"rolled_back","reason":"\n"}`, ``, `{"branches":[{"participant":"a","participant":"b"}],"ID":"x"}`, "{\"id\":\"\xff\"}", `{"branches":[[[[[]]]]]}`, `{"branches":[null,{}]}`,
	} {
		f.Add(uint8(i), []byte(body))
	}
	f.Fuzz(func(t *testing.T, set uint8, body []byte) {
		if len(body) > partMaxBody {
			return // refused before it is decoded
		}
		fields := controlFields[int(set)%len(controlFields)]
		before := slices.Clone(body)
		var m0, m1 runtime.MemStats
		measured := len(body) > 32<<10 // stopping the world costs more than a short decode
		if measured {
			runtime.ReadMemStats(&m0)
		}
		q, trouble := controlDecode(body, fields)
		if measured {
			if runtime.ReadMemStats(&m1); m1.TotalAlloc-m0.TotalAlloc > 8*uint64(len(body)) {
				t.Fatalf("%d bytes took %d of memory", len(body), m1.TotalAlloc-m0.TotalAlloc)
			}
		}
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if trouble != nil {
			if trouble.Status != http.StatusBadRequest && trouble.Status != http.StatusRequestEntityTooLarge || trouble.Detail == "" || len(trouble.Detail) > partMaxReason || len(trouble.Field) > 128 {
				t.Fatalf("refused with %+v", trouble)
			}
			return
		}
		controlCheckMeaning(t, body, fields, &q)
	})
}

func controlCheckMeaning(t *testing.T, body []byte, fields []string, q *controlRequest) {
	t.Helper()
	if len(body) == 0 {
		body = []byte("{}")
	}
	var meant controlMeant
	names := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &meant); err != nil {
		t.Fatalf("%q is understood, and encoding/json says: %v", body, err)
	}
	if err := json.Unmarshal(body, &names); err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if !slices.Contains(fields, name) {
			t.Fatalf("%q has an unknown field", body)
		}
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	duration := func(s *string) time.Duration {
		d, _ := time.ParseDuration(text(s))
		return d
	}
	payload := func(p json.RawMessage) json.RawMessage {
		if string(p) == "null" {
			return nil
		}
		return p
	}
	want := controlRequest{
		ID: dtc.TxID(text(meant.ID)), Participant: text(meant.Participant), Payload: payload(meant.Payload), PrepareTimeout: duration(meant.PrepareTimeout),
		CompletionWait: duration(meant.CompletionWait), Lifetime: duration(meant.Timeout), Reason: text(meant.Reason),
	}
	if meant.CompletionWait != nil && want.CompletionWait == 0 {
		want.CompletionWait = -1
	}
	if s := text(meant.XID); s != "" {
		x, err := dtc.ParseXID(s)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		want.XID = x
	}
	switch text(meant.Outcome) {
	case "committed":
		want.Outcome = dtc.Committed
	case "rolled_back":
		want.Outcome = dtc.RolledBack
	}
	for _, b := range meant.Branches {
		var participant string
		if err := json.Unmarshal(b.Participant, &participant); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		want.Branches = append(want.Branches, dtc.Branch{Participant: participant, Payload: payload(b.Payload)})
	}
	if !reflect.DeepEqual(*q, want) {
		t.Fatalf("%q is understood as %+v, want %+v", body, *q, want)
	}
	for _, b := range append(q.Branches, dtc.Branch{Payload: q.Payload}) {
		if len(b.Payload) > dtc.MaxPayload || b.Payload != nil && !json.Valid(b.Payload) {
			t.Fatalf("handed on: %q", b.Payload)
		}
	}
	if q.PrepareTimeout < 0 || q.PrepareTimeout > controlMaxTime || q.CompletionWait > controlMaxTime || q.Lifetime < 0 || q.Lifetime > controlMaxTime {
		t.Fatalf("times: %+v", q)
	}
}

// FuzzControlPath: a path leads to the call that a table of its own says, with what was
// escaped in it.
func FuzzControlPath(f *testing.F) {
	for _, path := range []string{"/v1/transactions", "/v1/transactions/begin", "/v1/transactions/a%2Fb/branches/%00/resolve", "/v1/branches/x/%zz", "//v1", "/v1/transactions/%7Bid%7D", "", "/v1/transactions/", "/V1/transactions", "/v1/trans%61ctions"} {
		f.Add("GET", path)
		f.Add("POST", path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return // the server refuses it
		}
		w := httptest.NewRecorder()
		route, args, trouble := controlFind(w, &http.Request{Method: method, URL: u})
		if trouble != nil {
			if route != nil || trouble.Status < 400 || trouble.Status > 405 || (trouble.Status == 405) != (w.Header().Get("Allow") != "") {
				t.Fatalf("%s %q: %+v", method, path, trouble)
			}
			return
		}
		if method != route.method && (method != "HEAD" || route.method != "GET") {
			t.Fatalf("%s became %s", method, route.method)
		}
		// Put together again, the path is the same.
		pattern := strings.Split(route.path, "/")
		segments := strings.Split(u.EscapedPath(), "/")
		if len(pattern) != len(segments) {
			t.Fatalf("%q is not %s", path, route.path)
		}
		names := 0
		for i, s := range segments {
			plain, err := url.PathUnescape(s)
			if err != nil {
				t.Fatal(err)
			}
			if name, ok := strings.CutPrefix(pattern[i], "{"); ok {
				names++
				if got, there := args[strings.TrimSuffix(name, "}")]; !there || got != plain {
					t.Fatalf("%q: %s is %q", path, name, got)
				}
			} else if plain != pattern[i] {
				t.Fatalf("%q is not %s", path, route.path)
			}
		}
		if names != len(args) {
			t.Fatalf("%q: %v", path, args)
		}
	})
}

// FuzzControlQuery: a query is refused as the client's fault, or says the same when it is
// written anew.
func FuzzControlQuery(f *testing.F) {
	for _, q := range []string{"", "limit=7&after=p1", "state=committed&participant=orders", "limit=0", "limit=1&limit=2", "limit=%31", "LIMIT=1", "state=%zz", "a;b", "&&limit=1000&", "limit=+1", "limit", "=x", "state=%ff", "limit=01"} {
		f.Add(q)
	}
	known := []string{"state", "participant", "limit", "after"}
	f.Fuzz(func(t *testing.T, raw string) {
		values, limit, trouble := controlQuery(raw, known...)
		if trouble != nil {
			if trouble.Status != http.StatusBadRequest || trouble.Detail == "" || len(trouble.Detail) > partMaxReason || len(trouble.Field) > 128 {
				t.Fatalf("%q is refused with %+v", raw, trouble)
			}
			return
		}
		if limit < 1 || limit > controlMaxPage {
			t.Fatalf("%q has the limit %d", raw, limit)
		}
		for name, v := range values {
			if !slices.Contains(known, name) || len(v) != 1 {
				t.Fatalf("%q is understood as %v", raw, values)
			}
		}
		for pair := range strings.SplitSeq(raw, "&") { // nothing was left out
			name, value, _ := strings.Cut(pair, "=")
			name, err1 := url.QueryUnescape(name)
			value, err2 := url.QueryUnescape(value)
			if pair != "" && (err1 != nil || err2 != nil || !values.Has(name) || values.Get(name) != value) {
				t.Fatalf("%q is understood as %v", raw, values)
			}
		}
		again, limit2, trouble := controlQuery(values.Encode(), known...)
		if trouble != nil || limit2 != limit || !reflect.DeepEqual(again, values) {
			t.Fatalf("%q is %v, and then %v, %+v", raw, values, again, trouble)
		}
	})
}

// TestControlDecodeMemory: bodies that are made to be dear are not.
func TestControlDecodeMemory(t *testing.T) {
	fill := func(head, unit, tail string) []byte {
		return []byte(head + strings.Repeat(unit, (partMaxBody-len(head)-len(tail))/len(unit)) + tail)
	}
	for name, body := range map[string][]byte{
		"empty objects": fill(`{"branches":[{}`, `,{}`, `]}`), "numbers": fill(`{"branches":[1`, `,1`, `]}`), "open lists": fill(``, `[`, ``),
		"escapes": fill(`{"id":"`, `\u0041`, `"}`), "quotes": fill(`{"id":"`, `\"`, `"}`), "one long name": fill(`{"`, `x`, `":1}`),
		"spaces": fill(`{`, ` `, `}`), "open strings": fill(`{"a":"`, `","`, ``), "nulls": fill(`{"payload":[null`, `,null`, `]}`),
	} {
		for i, fields := range controlFields[:3:3] {
			if i == 1 {
				continue // takes neither branches nor payload
			}
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			_, trouble := controlDecode(body, fields)
			runtime.ReadMemStats(&m1)
			if n := m1.TotalAlloc - m0.TotalAlloc; n > 8*partMaxBody {
				t.Errorf("%s as %d: %d bytes took %d of memory", name, i, len(body), n)
			}
			if trouble == nil && name != "spaces" {
				t.Errorf("%s as %d is accepted", name, i)
			}
		}
	}
}
