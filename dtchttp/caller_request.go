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

// callPayload returns a payload as it is put into a body; no payload is null.
func callPayload(payload []byte) ([]byte, error) {
	text := bytes.TrimSpace(payload)
	switch {
	case len(payload) > dtc.MaxPayload:
		return nil, fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(payload), dtc.MaxPayload)
	case len(text) == 0:
		return []byte("null"), nil
	case !json.Valid(text) || !utf8.Valid(text):
		return nil, errors.New("the payload is no JSON, and cannot be sent over HTTP")
	}
	return text, nil
}

// callPrepareBody adds to that what goes with prepare only. The payload is put
// in as it is: marshalled, its escapes would be changed.
func callPrepareBody(b dtc.Branch) ([]byte, error) {
	payload, err := callPayload(b.Payload)
	if err != nil {
		return nil, err
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
	return p.sender.send(r, verb, callMaxAnswer)
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
	return p.sender.send(r, partInDoubt, callMaxInDoubt)
}
