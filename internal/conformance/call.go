package conformance

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
	"strings"
	"time"

	"github.com/dtc-project/dtc"
)

// The calls, as they are named in the path.
const (
	verbPrepare  = "prepare"
	verbCommit   = "commit"
	verbRollback = "rollback"
	verbInDoubt  = "in-doubt"
)

// Votes, as the wire words them, and what stands for a definite no without one.
const (
	voteCommit   = "vote_commit"
	voteAbort    = "vote_abort"
	voteReadOnly = "read_only"
	refused      = "refused"
)

// The coordinator reads no more of an answer.
const (
	maxAnswer  = 64 << 10
	maxInDoubt = 4 << 20
)

// branch is one branch as it is named in calls.
type branch struct {
	txID     string
	xid      dtc.XID
	lowWater dtc.XID
	attempt  int
	payload  json.RawMessage
	extra    string // members of JSON that the contract does not know
}

// answer is what came back for a call.
type answer struct {
	sent   string
	status int
	media  string
	body   []byte
	err    error // no status came back, or no whole body
}

// got says for people what came back.
func (a answer) got() string {
	if a.err != nil {
		return "no answer: " + a.err.Error()
	}
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if a.media != "" && !strings.Contains(a.media, "json") {
		text += " (" + a.media + ")"
	}
	if body := strings.TrimSpace(string(a.body)); body != "" {
		text += " " + shorten(strings.Join(strings.Fields(body), " "), 300)
	}
	return strings.TrimSpace(text)
}

// done reports whether a commit or rollback was acknowledged.
func (a answer) done() bool { return a.err == nil && a.status >= 200 && a.status <= 299 }

func (a answer) unknown() bool {
	return a.err == nil && (a.status == http.StatusNotFound || a.status == http.StatusGone)
}

// state is how a 409 says that the branch has ended, or nothing.
func (a answer) state() string {
	members, err := object(a.body)
	if a.err != nil || a.status != http.StatusConflict || err != nil {
		return ""
	}
	s, _ := text(members["state"])
	return s
}

// silence reports whether the answer says nothing, so that the coordinator asks
// again.
func (a answer) silence() bool {
	switch {
	case a.err != nil, a.status >= 500, a.status < 200:
		return true
	}
	return a.status == http.StatusRequestTimeout || a.status == http.StatusTooEarly || a.status == http.StatusTooManyRequests
}

// vote reads the answer to a prepare as the coordinator would.
func (a answer) vote() (string, error) {
	switch {
	case a.err != nil:
		return "", a.err
	case a.status >= 400 && a.status <= 499 && !a.silence():
		return refused, nil
	case a.status != http.StatusOK:
		return "", fmt.Errorf("%d is no answer to prepare: the coordinator asks again until the prepare timeout, and then rolls back", a.status)
	}
	members, err := object(a.body)
	if err != nil {
		return "", fmt.Errorf("the body of a 200 must be a JSON object with a vote: %w", err)
	}
	vote, ok := text(members["vote"])
	if ok && (vote == voteCommit || vote == voteAbort || vote == voteReadOnly) {
		if _, ok := text(members["reason"]); !ok && len(members["reason"]) > 0 && string(members["reason"]) != "null" {
			return "", errors.New("reason must be a string")
		}
		return vote, nil
	}
	return "", fmt.Errorf("the vote is %s; want %q, %q or %q", shorten(string(members["vote"]), 60), voteCommit, voteAbort, voteReadOnly)
}

// object reads one whole JSON object, in which no member stands twice: what
// decides about a transaction must have one reading only.
func object(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, errors.New("it is no whole JSON object")
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%q stands in it twice", shorten(name, 60))
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("it is no whole JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}

// text reads a JSON string.
func text(value json.RawMessage) (s string, ok bool) {
	return s, len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &s) == nil
}

// body words a call. The payload is put in as it is: marshalled, it would lose
// its white space.
func (c *check) body(verb string, b branch) []byte {
	m := struct {
		TxID     string  `json:"tx_id"`
		XID      string  `json:"xid"`
		Branch   string  `json:"branch"`
		Attempt  int     `json:"attempt"`
		LowWater *string `json:"low_water"`
	}{TxID: b.txID, XID: b.xid.String(), Branch: c.s.Participant, Attempt: max(b.attempt, 1)}
	if !b.lowWater.IsZero() {
		s := b.lowWater.String()
		m.LowWater = &s
	}
	text, _ := json.Marshal(m) // strings and numbers
	text = text[:len(text)-1]
	if verb == verbPrepare {
		deadline := time.Now().Add(c.s.Timeout).UTC().Format("2006-01-02T15:04:05.000Z")
		text = fmt.Appendf(text, `,"deadline":%q,"payload":%s`, deadline, b.payload)
	}
	if b.extra != "" {
		text = append(append(text, ','), b.extra...)
	}
	return append(text, '}')
}

// call makes one call for a branch.
func (c *check) call(verb string, b branch) answer {
	return c.post(c.ctx, verb, b, c.body(verb, b))
}

func (c *check) post(ctx context.Context, verb string, b branch, body []byte) answer {
	if verb == verbPrepare {
		c.mayHold(b)
	}
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("Idempotency-Key", b.xid.String()+"/"+c.s.Participant+"/"+verb)
	header.Set("Traceparent", c.trace)
	return c.send(ctx, http.MethodPost, c.s.base.JoinPath(verb), header, body, true)
}

// ask asks for one page of what is in doubt. A limit of 0 is left out.
func (c *check) ask(log dtc.LogID, limit int, after string) answer {
	query := url.Values{"log": {log.String()}}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if after != "" {
		query.Set("after", after)
	}
	u := *c.s.base.JoinPath(verbInDoubt)
	u.RawQuery = query.Encode()
	return c.send(c.ctx, http.MethodGet, &u, http.Header{}, nil, true)
}

// send makes a call, follows no redirect and reads no more than the coordinator
// would.
func (c *check) send(ctx context.Context, method string, u *url.URL, header http.Header, body []byte, authorize bool) (a answer) {
	a.sent = strings.TrimSpace(method + " " + u.Path + " " + shorten(string(body), 400))
	if u.RawQuery != "" {
		a.sent += "?" + u.RawQuery
	}
	ctx, cancel := context.WithTimeout(ctx, c.s.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		a.err = err
		return a
	}
	r.Header = header
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "dtc-conformance")
	if c.s.Authorize != nil && authorize {
		value, err := c.s.Authorize()
		if err != nil {
			a.err = err
			return a
		}
		r.Header.Set("Authorization", value)
	}
	resp, err := c.s.Transport.RoundTrip(r)
	if err != nil {
		a.err = err
		if ctx.Err() != nil {
			a.err = fmt.Errorf("nothing came within %v", c.s.Timeout)
		}
		return a
	}
	defer resp.Body.Close()
	a.status, a.media = resp.StatusCode, resp.Header.Get("Content-Type")
	limit := maxAnswer
	if strings.HasSuffix(u.Path, verbInDoubt) {
		limit = maxInDoubt
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	switch {
	case err != nil:
		a.err = fmt.Errorf("%d, and then the body broke off: %w", a.status, err)
	case len(a.body) > limit:
		a.err = fmt.Errorf("%d, and a body of more than %d bytes, of which the coordinator reads no more", a.status, limit)
	}
	return a
}
