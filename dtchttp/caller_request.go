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
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base.JoinPath(verb).String(), bytes.NewReader(body))
	if err != nil {
		return callAnswer{}, fmt.Errorf("%s: the request cannot be made", verb)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", b.XID.String()+"/"+b.Participant+"/"+verb)
	return p.send(r, verb, callMaxAnswer)
}

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
	r.Header.Set("User-Agent", callUserAgent())
	r.Header.Set("Accept", "application/json")
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
	a.body, a.cut = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if int64(len(a.body)) > limit {
		a.body, a.cut = a.body[:limit], fmt.Errorf("it is longer than %d bytes", limit)
	}
	return a, nil
}
