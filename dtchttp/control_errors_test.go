package dtchttp_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlBadRequests: what is wrong is told with the field, and nothing is begun.
func TestControlBadRequests(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	const one = `"branches":[{"participant":"orders"}]`
	many := func(n int) string {
		return `{"branches":[` + strings.TrimSuffix(strings.Repeat(`{"participant":"orders"},`, n), ",") + `]}`
	}
	bodies := map[string]map[string]string{ // by field, by path
		"/v1/transactions": {
			``: "branches", `{}`: "branches", `{"branches":[]}`: "branches", `{"branches":null}`: "branches", `{"branches":{}}`: "branches", `{"branches":"orders"}`: "branches",
			many(1001): "branches", many(2): "branches[1].participant", `{"branches":[{"participant":"orders"},{"participant":"nobody"}]}`: "branches[1].participant",
			`{"branches":[{}]}`: "branches[0].participant", `{"branches":[{"participant":null}]}`: "branches[0].participant", `{"branches":[{"participant":"a b"}]}`: "branches[0].participant",
			`{"branches":[{"participant":7}]}`: "branches[0].participant", `{"branches":["orders"]}`: "branches[0]", `{"branches":[null]}`: "branches[0]",
			`{"branches":[{"participant":"orders","url":"x"}]}`: "branches[0].url", `{"branches":[{"participant":"orders","participant":"orders"}]}`: "branches[0]",
			`{"id":"",` + one + `}`: "id", `{"id":"a b",` + one + `}`: "id", `{"id":"` + strings.Repeat("x", 129) + `",` + one + `}`: "id", `{"id":7,` + one + `}`: "id", `{"id":"a\u0000",` + one + `}`: "id",
			`{"prepare_timeout":"0s",` + one + `}`: "prepare_timeout", `{"prepare_timeout":"-1s",` + one + `}`: "prepare_timeout", `{"prepare_timeout":"999us",` + one + `}`: "prepare_timeout",
			`{"prepare_timeout":"1h1ms",` + one + `}`: "prepare_timeout", `{"prepare_timeout":5,` + one + `}`: "prepare_timeout", `{"prepare_timeout":"5",` + one + `}`: "prepare_timeout", `{"prepare_timeout":"",` + one + `}`: "prepare_timeout",
			`{"completion_wait":"-1ms",` + one + `}`: "completion_wait", `{"completion_wait":"61m",` + one + `}`: "completion_wait", `{"completion_wait":"soon",` + one + `}`: "completion_wait",
			`{"timeout":"5s",` + one + `}`: "timeout", `{"ID":"x",` + one + `}`: "ID", `{"id":"x","id":"x",` + one + `}`: "", `{` + one + `}x`: "", `[]`: "", `null`: "", `{`: "", "{\"id\":\"\xff\"," + one + "}": "",
			`{"branches":[{"participant":"orders","payload":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}]}`: "",
		},
		"/v1/transactions/begin":      {`{"timeout":"0s"}`: "timeout", `{"timeout":"2h"}`: "timeout", `{"timeout":"1"}`: "timeout", `{"id":""}`: "id", `{"branches":[]}`: "branches", `{"prepare_timeout":"1s"}`: "prepare_timeout"},
		"/v1/transactions/s/branches": {``: "participant", `{"participant":""}`: "participant", `{"participant":"nobody"}`: "participant", `{"participant":"a/b"}`: "participant", `{"participant":"orders","id":"x"}`: "id"},
		"/v1/transactions/s/commit":   {`{"timeout":"1s"}`: "timeout", `{"prepare_timeout":"1"}`: "prepare_timeout", `{"completion_wait":"-5s"}`: "completion_wait"},
		"/v1/transactions/s/rollback": {`{"reason":"x"}`: "reason", `{"prepare_timeout":"1s"}`: "prepare_timeout"},
		"/v1/transactions/s/retry":    {`{"now":true}`: "now"},
		"/v1/transactions/s/branches/orders/resolve": {
			``: "outcome", `{"reason":"x"}`: "outcome", `{"outcome":"heuristic","reason":"x"}`: "outcome", `{"outcome":"","reason":"x"}`: "outcome", `{"outcome":null,"reason":"x"}`: "outcome",
			`{"outcome":"committed"}`: "reason", `{"outcome":"committed","reason":""}`: "reason", `{"outcome":"committed","reason":"` + strings.Repeat("x", 1025) + `"}`: "reason", `{"outcome":"committed","reason":"x","force":true}`: "force",
		},
	}
	a.want("POST", "/v1/transactions/begin", `{"id":"s"}`, 201, nil)
	for path, bodies := range bodies {
		for body, field := range bodies {
			want := any(field)
			if field == "" {
				want = nil
			}
			a.want("POST", path, body, 400, map[string]any{"code": "bad_request", "field": want, "title": "Bad Request", "type": "about:blank"})
		}
	}
	a.want("POST", "/v1/transactions", many(2), 400, map[string]any{"participant": "orders"})
	a.want("POST", "/v1/transactions/s/branches", `{"participant":"nobody"}`, 400, map[string]any{"participant": "nobody"})
	if n := a.c.Stats().Begun; n != 1 {
		t.Errorf("%d were begun", n)
	}
	for name, body := range map[string]string{ // what is just right
		"deep":      `{"branches":[{"participant":"orders","payload":` + strings.Repeat("[", 61) + strings.Repeat("]", 61) + `}]}`,
		"durations": `{"prepare_timeout":"1ms","completion_wait":"1h",` + one + `}`, "longest": `{"prepare_timeout":"1h","completion_wait":"0s",` + one + `}`,
		"nulls": `{"id":null,"prepare_timeout":null,"completion_wait":null,` + one + `}`, "long": `{"id":"` + strings.Repeat("x", 128) + `",` + one + `}`,
		"spaces": " \r\n\t{ \"branches\" : [ { \"participant\" : \"orders\" } ] } \n", "escaped": `{"\u0062ranches":[{"p\u0061rticipant":"\u006frders"}]}`,
	} {
		if status, answer := a.call("POST", "/v1/transactions", body); status != 200 {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

// TestControlMethods: 405 with Allow, and HEAD where there is GET.
func TestControlMethods(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	for path, allow := range map[string]string{
		"/v1/transactions": "POST, GET", "/v1/transactions/begin": "POST, GET", "/v1/transactions/t": "GET", "/v1/transactions/t/branches": "POST",
		"/v1/transactions/t/commit": "POST", "/v1/transactions/t/rollback": "POST", "/v1/transactions/t/retry": "POST",
		"/v1/transactions/t/branches/orders/resolve": "POST", "/v1/branches/x/orders": "GET", "/v1/participants": "GET",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"} {
			as := method
			if method == "HEAD" {
				as = "GET"
			}
			if strings.Contains(allow, as) {
				continue
			}
			status, h, answer := a.full(method, path, "")
			if status != 405 || h.Get("Allow") != allow || answer["code"] != "method_not_allowed" {
				t.Errorf("%s %s: %d, Allow %q: %v", method, path, status, h.Get("Allow"), answer)
			}
		}
	}
	a.want("HEAD", "/v1/participants", "", 200, nil)
}

// TestControlBodies: what is no JSON or too much of it, and what needs no type.
func TestControlBodies(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	send := func(body io.Reader, length int64, header ...string) (int, map[string]any) {
		r, err := http.NewRequest("POST", "http://dtc.test/v1/transactions/begin", body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		status, _, answer := a.send(r)
		return status, answer
	}
	text := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }
	pad := func(n int) io.Reader { return text(`{` + strings.Repeat(" ", n-2) + `}`) }
	for name, c := range map[string]struct {
		status int
		code   string
		body   io.Reader
		length int64
		header []string
	}{
		"no type":           {415, "unsupported_media_type", text("{}"), 2, nil},
		"no type, streamed": {415, "unsupported_media_type", text("{}"), -1, nil},
		"other type":        {415, "unsupported_media_type", text("{}"), 2, []string{"Content-Type", "text/json"}},
		"a form":            {415, "unsupported_media_type", text("id=x"), 4, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"compressed":        {415, "unsupported_media_type", text("{}"), 2, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}},
		"1 MiB":             {201, "", pad(1 << 20), 1 << 20, []string{"Content-Type", "application/json"}},
		"more":              {413, "too_large", pad(1<<20 + 1), 1<<20 + 1, []string{"Content-Type", "application/json"}},
		"1 MiB, streamed":   {201, "", pad(1 << 20), -1, []string{"Content-Type", "application/json"}},
		"more, streamed":    {413, "too_large", pad(1<<20 + 1), -1, []string{"Content-Type", "application/json"}},
		"nothing":           {201, "", http.NoBody, 0, nil},
		"nothing, streamed": {201, "", text(""), -1, nil},
		"with a charset":    {201, "", text("{}"), 2, []string{"Content-Type", "application/json; charset=utf-8"}},
		"in capitals":       {201, "", text("{}"), 2, []string{"Content-Type", "Application/JSON", "Content-Encoding", "identity"}},
		"cut":               {408, "bad_request", io.MultiReader(text("{"), broken{}), 9, []string{"Content-Type", "application/json"}},
	} {
		if status, answer := send(c.body, c.length, c.header...); status != c.status || c.code != "" && answer["code"] != c.code {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	most := strings.Repeat("x", dtc.MaxPayload-1) + `"`
	a.want("POST", "/v1/transactions", `{"branches":[{"participant":"orders","payload":"`+most+`}]}`, 413, map[string]any{"code": "too_large", "field": "branches[0].payload"})
	a.want("POST", "/v1/transactions/begin", `{"id":"s"}`, 201, nil)
	a.want("POST", "/v1/transactions/s/branches", `{"participant":"orders","payload":"`+most+`}`, 413, map[string]any{"code": "too_large", "field": "payload"})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
