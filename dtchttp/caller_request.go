package dtchttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/dtc-project/dtc"
)

// Of an answer at most so many bytes are read.
const (
	callMaxAnswer  = 64 << 10
	callMaxInDoubt = 4 << 20
)

type callRaw = json.RawMessage

// callFinishBody is the body of commit and rollback. What is no text of a caller's has
// nothing that JSON would have to escape.
func callFinishBody(b dtc.Branch) ([]byte, error) {
	id, err := json.Marshal(string(b.TxID))
	if err != nil {
		return nil, err
	}
	body := append(make([]byte, 0, 512+len(b.Payload)), `{"tx_id":`...)
	body = append(body, id...)
	body = append(append(append(body, `,"xid":"`...), b.XID.String()...), '"')
	body = append(append(append(body, `,"branch":"`...), b.Participant...), '"')
	body = strconv.AppendInt(append(body, `,"attempt":`...), int64(b.Attempt), 10)
	if b.LowWater.IsZero() {
		return append(body, `,"low_water":null}`...), nil
	}
	return append(append(append(body, `,"low_water":"`...), b.LowWater.String()...), `"}`...), nil
}

// callPrepareBody adds to that what goes with prepare only. The payload is put
// in as it is: marshalled, its escapes would be changed.
func callPrepareBody(b dtc.Branch) ([]byte, error) {
	payload := bytes.TrimSpace(b.Payload)
	switch {
	case len(b.Payload) > dtc.MaxPayload:
		return nil, fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(b.Payload), dtc.MaxPayload)
	case len(payload) == 0:
		payload = []byte("null")
	case !json.Valid(payload) || !utf8.Valid(payload):
		return nil, errors.New("the payload is no JSON, and cannot be sent over HTTP")
	}
	body, err := callFinishBody(b)
	if err != nil {
		return nil, err
	}
	body = append(body[:len(body)-1], `,"deadline":`...)
	if b.Deadline.IsZero() {
		body = append(body, "null"...)
	} else {
		body = b.Deadline.UTC().AppendFormat(body, `"`+partTimeLayout+`"`)
	}
	body = append(body, `,"payload":`...)
	return append(append(body, payload...), '}'), nil
}

// post makes the call for a branch.
func (p *Participant) post(ctx context.Context, verb string, b dtc.Branch, body []byte) (callAnswer, error) {
	u := p.calls[verb]
	r := (&http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, ContentLength: int64(len(body)),
		Body:    io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		Header:  make(http.Header, 8),
	}).WithContext(ctx)
	r.Header["Content-Type"] = callJSON
	r.Header["Idempotency-Key"] = []string{b.XID.String() + "/" + b.Participant + "/" + verb}
	return p.send(r, verb, callMaxAnswer)
}

// Values of headers that are the same in every call.
var (
	callJSON   = []string{"application/json"}
	callAgents = sync.OnceValue(func() []string { return []string{callUserAgent()} })
)

// ask asks for one page of what is in doubt.
func (p *Participant) ask(ctx context.Context, log dtc.LogID, after string) (callAnswer, error) {
	u := p.base.JoinPath(partInDoubt)
	query := url.Values{"log": {log.String()}, "limit": {strconv.Itoa(partMaxPage)}}
	if after != "" {
		query.Set("after", after)
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return callAnswer{}, fmt.Errorf("%s: the request cannot be made", partInDoubt)
	}
	return p.send(r, partInDoubt, callMaxInDoubt)
}

// send sends a request and reads the answer, up to a limit. An error says that no
// status came back. It names neither URL nor credentials: those are no part of
// what a transport's errors say.
//
// The Idempotency-Key lets the transport repeat a call by itself when a connection
// that was used before turns out to be closed. That is one more copy of a call
// that may come any number of times.
func (p *Participant) send(r *http.Request, verb string, limit int64) (callAnswer, error) {
	r.Header["User-Agent"] = callAgents()
	r.Header["Accept"] = callJSON
	if s := Traceparent(r.Context()); s != "" {
		r.Header.Set("Traceparent", s)
	}
	if p.authorize != nil {
		value, err := p.authorize()
		if err != nil {
			return callAnswer{}, fmt.Errorf("%s: %w", verb, err)
		}
		r.Header.Set("Authorization", value)
	}
	// Not by a client: it would follow redirects.
	resp, err := p.transport.RoundTrip(r)
	if err != nil {
		return callAnswer{}, fmt.Errorf("%s: %w", verb, err)
	}
	// Closed before it is read to its end, the connection is not used again.
	defer resp.Body.Close()
	a := callAnswer{verb: verb, status: resp.StatusCode, media: resp.Header.Get("Content-Type")}
	if a.status == http.StatusSwitchingProtocols {
		return a, nil // no body follows, but another protocol
	}
	if n := resp.ContentLength; n >= 0 && n <= limit {
		a.body = make([]byte, n)
		var got int
		got, a.cut = io.ReadFull(resp.Body, a.body)
		a.body = a.body[:got]
		if a.cut == nil {
			_, _ = resp.Body.Read(make([]byte, 1)) // its end, so that the connection is used again
		}
		return a, nil
	}
	a.body, a.cut = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if int64(len(a.body)) > limit {
		a.body, a.cut = a.body[:limit], fmt.Errorf("it is longer than %d bytes", limit)
	}
	return a, nil
}
