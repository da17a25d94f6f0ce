package http_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
)

// Exchanges as the file describes them: what is asked, and what is answered.
const (
	run = `POST /v1/transactions
Content-Type: application/json
Traceparent: 00-1

{"id":"a","branches":[{"participant":"orders","payload":{"x":[{"y":1}]}}],"prepare_timeout":"5s"}

200
Content-Type: application/json
Vary: Accept

{"id":"a","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000000.1","state":"committed","outcome":"committed","committed":true,"reason":null,
"branches":[{"participant":"orders","vote":"vote_commit","state":"committed","attempts":1,"last_error":"","next_attempt":null}],
"started":"2025-02-28T12:00:00.000Z","decided":null,"ended":null,"remembered_since":null}`

	list = `GET /v1/transactions?limit=1&state=committed



200
Content-Type: application/json; charset=utf-8

{"transactions":[],"next":null}`

	unknown = `HEAD /v1/transactions/a%2Fb



404
Content-Type: application/problem+json

{"type":"about:blank","title":"Not Found","status":404,"detail":"unknown","code":"unknown_transaction","remembered_since":null}`

	full = `POST /v1/transactions/a/retry



429
Content-Type: application/problem+json
Retry-After: 1

{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"full","code":"full"}`

	ready = `GET /readyz?verbose



200
Content-Type: text/plain; charset=utf-8

ok`

	method = `DELETE /v1/transactions



405
Allow: POST, GET
Content-Type: application/problem+json

{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"no","code":"method_not_allowed"}`
)

// observe returns what a description finds wrong with an exchange.
func observe(t *testing.T, s *spec, text string) string {
	t.Helper()
	parts := strings.SplitN(text, "\n\n", 4)
	first := func(head string) (string, http.Header) {
		line, rest, _ := strings.Cut(head, "\n")
		header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(rest + "\n\n"))).ReadMIMEHeader()
		if err != nil {
			t.Fatal(err)
		}
		return line, http.Header(header)
	}
	line, asked := first(parts[0])
	verb, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(verb, target, http.NoBody)
	r.Header = asked
	code, answered := first(parts[2])
	status, err := strconv.Atoi(code)
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	s.check(r, []byte(strings.TrimSpace(parts[1])), status, answered, []byte(parts[3]), func(format string, args ...any) {
		fmt.Fprintf(&found, format+"\n", args...)
	})
	return found.String()
}

// TestWrongExchange: what the file does not say of requests and answers is found.
func TestWrongExchange(t *testing.T) {
	s := load(t, "openapi.yaml")
	for _, good := range []string{run, list, unknown, full, ready, method} {
		if found := observe(t, s, good); found != "" {
			t.Errorf("%s\n%s", good, found)
		}
	}
	for _, plan := range []struct{ why, text, good, wrong string }{
		// requests
		{"query more is not described", list, "limit=1", "limit=1&more=1"},
		{"maximum", list, "limit=1", "limit=1001"},
		{"want integer", list, "limit=1", "limit=one"},
		{"want integer", list, "limit=1", "limit="},
		{"stands there 2 times", list, "limit=1", "limit=1&limit=1"},
		{"value must be one of", list, "state=committed", "state=done"},
		{"reserved", list, "state=committed", "participant=a:b"},
		{"invalid URL escape", list, "limit=1", "limit=%zz"},
		{"header More is not described", run, "Traceparent: 00-1", "More: 1"},
		{"header Cookie is not described", run, "Traceparent: 00-1", "Cookie: a=b"},
		{"path id", strings.Replace(unknown, "404", "200", 1), "a%2Fb", "a%20b"},
		{"media type", run, "Content-Type: application/json\nTrace", "Content-Type: application/xml\nTrace"},
		{"media type", run, "Content-Type: application/json\nTrace", "Trace"},
		{"media type", list, "\n\n\n\n200", "\n\n{}\n\n200"}, // no body is described
		{"unexpected EOF", run, `"prepare_timeout":"5s"}`, `"prepare_timeout":"5s"`},
		{"additional properties 'more'", run, `{"id":"a",`, `{"id":"a","more":1,`},
		{"additional properties 'more'", run, `{"participant":"orders","payload"`, `{"more":"orders","payload"`},
		{"missing property 'participant'", run, `{"participant":"orders","payload"`, `{"payload"`},
		{"want string", run, `{"participant":"orders","payload"`, `{"participant":1,"payload"`},
		{"pattern", run, `"5s"`, `"5"`},
		// answers
		{"does not list this status", run, "\n200\n", "\n204\n"},
		{"header More is not described", run, "Vary: Accept", "More: 1"},
		{"header Retry-After is not described", run, "Vary: Accept", "Retry-After: 1"},
		{"header Retry-After stands there 0 times", full, "\nRetry-After: 1", ""},
		{"header Retry-After stands there 2 times", full, "Retry-After: 1", "Retry-After: 1\nRetry-After: 1"},
		{"minimum", full, "Retry-After: 1", "Retry-After: 0"},
		{"want integer", full, "Retry-After: 1", "Retry-After: soon"},
		{"media type", run, "application/json\nVary", "text/plain\nVary"},
		{"media type", run, "Content-Type: application/json\nVary", "Vary"},
		{"media type", ready, "text/plain", "application/json"},
		{"charset", list, "utf-8", "latin1"},
		{"'/more': false schema", run, `"reason":null`, `"reason":null,"more":1`},
		{"'/branches/0/more': false schema", run, `"attempts":1`, `"attempts":1,"more":1`},
		{"'/more': false schema", full, `"code"`, `"more":1,"code"`},
		{"'/branches/0/payload': false schema", run, `"attempts":1`, `"attempts":1,"payload":1`},
		{"missing property 'reason'", run, `"reason":null,`, ""},
		{"missing property 'attempts'", run, `"attempts":1,`, ""},
		{"missing property 'remembered_since'", unknown, `,"remembered_since":null`, ""},
		{"want integer", run, `"attempts":1`, `"attempts":"1"`},
		{"want null or boolean", run, `"committed":true`, `"committed":"true"`},
		{"value must be one of", run, `"vote":"vote_commit"`, `"vote":"commit"`},
		{"value must be 'full'", full, `"code":"full"`, `"code":"internal"`},
		{"date-time", run, "2025-02-28", "2025-02-30"},
		{"pattern", run, "12:00:00.000Z", "12:00:00Z"},
		{"EOF", list, `{"transactions":[],"next":null}`, ""},
		{"after top-level value", list, `"next":null}`, `"next":null}{}`},
		// what is no operation
		{"Allow", method, "POST, GET", "POST"},
		{"want 405", method, "\n405\n", "\n404\n"},
		{"want 404", method, "/v1/transactions", "/v1/transaction"},
		{"'/more': false schema", method, `"detail"`, `"more":1,"detail"`},
	} {
		if found := observe(t, s, plant(t, plan.text, plan.good, plan.wrong)); !strings.Contains(found, plan.why) {
			t.Errorf("with %q: want something about %q: %s", plan.wrong, plan.why, found)
		}
	}
}
