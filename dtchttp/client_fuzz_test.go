package dtchttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dtc-project/dtc"
)

const fuzzXID = "dtc.aaaaaaaaaaaaaaaa.1-aaaaaaaa.1"

// FuzzClientAnswer: whatever comes back, a client tells an outcome only if the document
// says it in so many words, holds on to little memory, and repeats nothing of a stranger's
// that would upset a terminal.
func FuzzClientAnswer(f *testing.F) {
	for _, s := range []struct {
		status int
		media  string
		body   string
	}{
		{200, "application/json", `{"id":"t","xid":"` + fuzzXID + `","state":"committed","outcome":"committed","committed":true,"reason":null,"branches":[{"participant":"a","vote":"vote_commit","state":"committed","attempts":1,"last_error":"","next_attempt":null}],"started":"2026-01-02T03:04:05.678Z","decided":null,"ended":null,"remembered_since":null,"later":[{}]}`},
		{200, "application/json; charset=utf-8", `{"id":"t","xid":"` + fuzzXID + `","state":"rolled_back","outcome":"rolled_back","committed":false,"reason":{"code":"vote_abort","participant":"a","message":"no"}}`},
		{200, "application/json", `{"id":"t","xid":"` + fuzzXID + `","state":"heuristic","outcome":"heuristic","branches":[{"participant":"a","state":"heuristic_rolled_back"}]}`},
		{201, "application/json", `{"id":"t","xid":"` + fuzzXID + `","state":"active","outcome":null,"committed":null}`},
		{200, "application/json", `{"id":"t","xid":"` + fuzzXID + `","state":"x","outcome":"committed","committed":false}`},
		{200, "application/json", `{"id":"t","outcome":"committed","outcome":"rolled_back","OUTCOME":"committed"}`},
		{200, "text/html", `<h1>committed</h1>`},
		{404, "application/problem+json", `{"code":"unknown_transaction","detail":"x\n\u001b[2J","remembered_since":"2026-01-02T03:04:05Z"}`},
		{503, "application/problem+json", `{"code":"draining"}`},
		{500, "text/plain", "\x1b]0;oh\x07"},
	} {
		f.Add(s.status, s.media, []byte(s.body), "1")
	}
	f.Fuzz(func(t *testing.T, status int, media string, body []byte, wait string) {
		a := callAnswer{verb: "POST", status: status, media: media, body: body, header: http.Header{"Retry-After": {wait}}}
		fuzzProblem(t, a)
		var m0, m1 runtime.MemStats
		measured := len(body) > 32<<10 // stopping the world costs more than a short decode
		if measured {
			runtime.ReadMemStats(&m0)
		}
		doc, err := a.transaction("t")
		if measured {
			if runtime.ReadMemStats(&m1); m1.TotalAlloc-m0.TotalAlloc > 16*uint64(len(body))+1<<20 {
				t.Fatalf("%d bytes took %d of memory", len(body), m1.TotalAlloc-m0.TotalAlloc)
			}
		}
		if err != nil {
			if !reflect.DeepEqual(doc, Transaction{}) {
				t.Fatalf("%+v comes with the error %v", doc, err)
			}
			return
		}
		fuzzOutcome(t, body, doc)
		// What was read is written and read again as the same.
		text, err := json.Marshal(doc)
		if err != nil {
			return // a year that RFC 3339 does not have
		}
		again, err := clientTransaction(text)
		if err == nil {
			var once []byte
			if once, err = json.Marshal(again); err == nil && string(once) != string(text) {
				t.Fatalf("read again it is\n%s, and was\n%s", once, text)
			}
		}
		if err != nil && !strings.Contains(err.Error(), "is not understood") { // such a year
			t.Fatalf("%v: %s", err, text)
		}
	})
}

// fuzzOutcome compares what a client tells with what stands in the document.
func fuzzOutcome(t *testing.T, body []byte, doc Transaction) {
	t.Helper()
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("it was read, and is no JSON: %v", err)
	}
	var said string
	if err := json.Unmarshal(members["outcome"], &said); err != nil && members["outcome"] != nil {
		t.Fatalf("outcome is %s", members["outcome"])
	}
	want := map[string]error{"committed": nil, "rolled_back": dtc.ErrRolledBack, "": dtc.ErrInDoubt}
	ok, err := doc.result()
	var heuristic *dtc.HeuristicError
	if isHeuristic := errors.As(err, &heuristic); isHeuristic != (said == "heuristic") {
		t.Fatalf("%q became %v", said, err)
	}
	if wanted, known := want[said]; known && !errors.Is(err, wanted) || ok != (said == "committed") {
		t.Fatalf("%q became %v, %v", said, ok, err)
	}
	if yes, no := string(members["committed"]) == "true", string(members["committed"]) == "false"; yes != ok || no != errors.Is(err, dtc.ErrRolledBack) {
		t.Fatalf("committed is %s, and became %v, %v", members["committed"], ok, err)
	}
}

// fuzzProblem reads an answer as one that is no success.
func fuzzProblem(t *testing.T, a callAnswer) {
	t.Helper()
	p := a.problem()
	if p.RetryAfter < 0 || p.RetryAfter > clientMaxPause {
		t.Fatalf("it waits %v", p.RetryAfter)
	}
	text := p.Error()
	if len(text) > 2*partMaxReason || len(p.Field) > partMaxReason || len(p.Participant) > partMaxReason {
		t.Fatalf("the error has %d bytes", len(text))
	}
	if strings.ContainsFunc(text+p.Field+p.Participant, unicode.IsControl) || !utf8.ValidString(text) {
		t.Fatalf("the error is %q", text)
	}
	if errors.Is(p, dtc.ErrRolledBack) {
		t.Fatal("a problem is no outcome")
	}
}

// TestClientManyBranches: a document of more branches than a transaction can have is
// none, and takes no memory for them.
func TestClientManyBranches(t *testing.T) {
	document := func(n int) []byte {
		return []byte(`{"id":"t","xid":"` + fuzzXID + `","state":"active","branches":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}`)
	}
	if doc, err := clientTransaction(document(controlMaxBranches)); err != nil || len(doc.Branches) != controlMaxBranches {
		t.Errorf("%d branches: %v", len(doc.Branches), err)
	}
	many := document(1 << 20)
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	_, err := clientTransaction(many)
	runtime.ReadMemStats(&m1)
	if took := m1.TotalAlloc - m0.TotalAlloc; err == nil || took > 4*uint64(len(many)) {
		t.Errorf("%d bytes took %d of memory: %v", len(many), took, err)
	}
}

// TestClientDocument: outcome and committed say the same, or the document says nothing.
func TestClientDocument(t *testing.T) {
	for _, tt := range []struct {
		members string
		ok      bool
	}{
		{`"outcome":"committed","committed":true`, true},
		{`"outcome":"rolled_back","committed":false`, true},
		{`"outcome":"heuristic","committed":null`, true},
		{`"outcome":null,"committed":null`, true},
		{`"later":{"outcome":1}`, true},
		{`"outcome":"committed","committed":false`, false},
		{`"outcome":"rolled_back","committed":true`, false},
		{`"outcome":"committed"`, false},
		{`"committed":true`, false},
		{`"outcome":"heuristic","committed":false`, false},
		{`"outcome":"COMMITTED","committed":true`, false},
		{`"outcome":"done"`, false},
		{`"outcome":true,"committed":true`, false},
		{`"outcome":"committed","committed":"true"`, false},
		{`"outcome":"committed","committed":true,"committed":true`, false},
		{`"branches":{}`, false},
		{`"branches":[1]`, false},
		{`"reason":"x"`, false},
	} {
		_, err := clientTransaction([]byte(`{"id":"t","xid":"` + fuzzXID + `","state":"x",` + tt.members + `}`))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.members, err)
		}
	}
}
