package dtchttp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

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
