package dtchttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// FuzzClientAnswer: an answer that is taken for an outcome says so in one way only, and
// encoding/json, which reads more than we do, reads the same.
func FuzzClientAnswer(f *testing.F) {
	const good = `{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","state":"committed","outcome":"committed","committed":true,"reason":null,` +
		`"branches":[{"participant":"a","vote":"vote_commit","state":"committed","attempts":1,"last_error":"","next_attempt":null}],` +
		`"started":"2026-01-02T03:04:05.678Z","decided":null,"ended":null,"remembered_since":null,"later":{"a":[1]}}`
	f.Add(200, "application/json", []byte(good))
	f.Add(200, "application/json", []byte(`{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","state":"heuristic","outcome":"heuristic","committed":null,"branches":[]}`))
	f.Add(200, "application/json", []byte(`{"outcome":"committed","OUTCOME":"rolled_back","committed":true}`))
	f.Add(200, "application/json", []byte(`{"transactions":[`+good+`],"next":"x"}`))
	f.Add(503, "application/problem+json", []byte(`{"code":"outcome_unknown","detail":"d","remembered_since":"2026-01-02T03:04:05Z"}`))
	f.Add(404, "application/problem+json", []byte(`{"code":7,"remembered_since":"yesterday"}`))
	f.Fuzz(func(t *testing.T, status int, media string, body []byte) {
		a := callAnswer{verb: "POST", status: status, media: media, body: body}
		_ = a.problem().Error()
		_, _, _ = clientPage(a, "transactions", clientTransaction)
		_, _, _ = clientPage(a, "participants", clientParticipant)
		doc, err := a.transaction("tx")
		if err != nil {
			return
		}
		committed, err := doc.result()
		outcome, _ := doc.outcome()
		switch {
		case committed != (outcome == dtc.Committed && err == nil):
			t.Fatalf("%s: committed %v, outcome %v, %v", body, committed, outcome, err)
		case errors.Is(err, dtc.ErrRolledBack) != (outcome == dtc.RolledBack):
			t.Fatalf("%s: %v for %v", body, err, outcome)
		}
		var twice Transaction
		text, err := json.Marshal(doc)
		if err != nil {
			t.Skip(err) // a year that is written with five digits
		}
		if twice, err = clientTransaction(text); err != nil || !reflect.DeepEqual(clipped(doc), clipped(twice)) {
			t.Fatalf("%+v\nis sent as %s\nand read as %+v, %v", doc, text, twice, err)
		}
	})
}

// clipped is a document whose times are as exact as the wire.
func clipped(t Transaction) string {
	for _, at := range []*Time{t.Started, t.Decided, t.Ended, t.RememberedSince} {
		if at != nil {
			*at = Time(time.Time(*at).UTC().Truncate(time.Millisecond))
		}
	}
	text, _ := json.Marshal(t)
	return string(text)
}

// TestClientBelievesNobodyElse: only a whole answer of the coordinator's own is read.
func TestClientBelievesNobodyElse(t *testing.T) {
	const good = `{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","state":"committed","outcome":"committed","committed":true}`
	for _, tt := range []struct {
		media, body string
		cut         error
		good        bool
	}{
		{"application/json", good, nil, true},
		{"application/json; charset=utf-8", " " + good + "\n", nil, true},
		{"text/json", good, nil, false},
		{"", good, nil, false},
		{"application/json", good, errors.New("cut"), false},
		{"application/json", good + good, nil, false},
		{"application/json", `{"id":"tx","state":"committed","outcome":"committed","committed":true}`, nil, false},
		{"application/json", `{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","outcome":"committed","committed":true}`, nil, false},
		{"application/json", `{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","state":"committed","outcome":"committed"}`, nil, false},
		{"application/json", `{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","state":"committed","outcome":"done","committed":true}`, nil, false},
		{"application/json", `{"id":"tx","xid":"dtc.aaaaaaaaaaaaaaaa.1-00000001.1","state":"committed","Outcome":"committed","Committed":true}`, nil, true}, // as one that says none
	} {
		doc, err := callAnswer{status: 200, media: tt.media, body: []byte(tt.body), cut: tt.cut}.transaction("tx")
		if (err == nil) != tt.good {
			t.Errorf("%s as %s: %+v, %v", tt.body, tt.media, doc, err)
		}
	}
	if doc, err := (callAnswer{status: 200, media: "application/json", body: []byte(good)}).transaction("other"); err == nil {
		t.Errorf("it took %+v for another transaction", doc)
	}
}

// TestClientReadsLittle: an answer that does not end is not read to its end.
func TestClientReadsLittle(t *testing.T) {
	written := make(chan int, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n, chunk := 0, make([]byte, 1<<20)
		for n < 1<<30 {
			k, err := w.Write(chunk)
			if n += k; err != nil {
				break
			}
		}
		written <- n
	}))
	defer s.Close()
	c, err := NewClient(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Transaction(context.Background(), "tx"); err == nil {
		t.Error("it was understood")
	}
	if n := <-written; n > 4*clientMaxAnswer {
		t.Errorf("%d bytes were taken", n)
	}
}
