package conformance

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/dtc-project/dtc"
)

var inputs = []scenario{
	{name: "unknown-fields", title: "a field that it does not know is no fault of the service", run: func(c *check) {
		b := c.branch()
		b.extra = `"x_conformance":{"a":[1,2]}`
		a := c.persist(verbPrepare, b)
		if vote, err := a.vote(); err != nil || vote != voteCommit && vote != refused {
			c.fail(a.sent, a.got(), "vote_commit, or a clear 4xx", whyServerError)
		} else if vote == refused {
			c.notListed(b, "refused for an unknown field", whyAbortHolds)
		}
	}},
	{name: "bad-json", title: "a request that makes no sense is answered 4xx", run: func(c *check) {
		b := c.branch()
		good := c.body(verbPrepare, b)
		for _, verb := range []string{verbPrepare, verbCommit, verbRollback} {
			for _, body := range [][]byte{nil, []byte("{"), []byte("[]"), []byte("null"), []byte(`"text"`), []byte("{}"), []byte("\xff\xfe"), good[:len(good)/2]} {
				a := c.post(c.ctx, verb, b, body)
				switch {
				case a.err != nil || a.status >= 500:
					c.fail(a.sent, a.got(), "a 4xx: the body is not what the contract says", whyServerError)
				case a.done():
					c.fail(a.sent, a.got(), "a 4xx: the body is not what the contract says", whyLies)
				}
			}
		}
		c.prepare(b, voteCommit, "a good prepare after all the bad ones", whyInput)
	}},
	{name: "large-payload", title: "a payload of nearly 256 KiB is taken", run: func(c *check) {
		b := c.branch()
		b.payload = pad(c.s.Payload, dtc.MaxPayload-1024)
		c.must(c.prepare(b, voteCommit, "a payload of nearly 256 KiB, the given one with white space in it", whyInput))
		c.mustCommit(b)
	}},
	{name: "tx-ids", title: "every tx_id that the contract allows is taken, and is no key", run: func(c *check) {
		var same []branch
		for _, id := range []string{
			"заказ-№1-日本語-🛒", strings.Repeat("x", 128), `';DROP-TABLE-branch;--`, `"\{}%s$1?&<>`, "é\u0301", "../../etc/passwd", "0", "null",
			"twice", "twice",
		} {
			b := c.branch()
			b.txID = id
			if !c.prepare(b, voteCommit, "a new branch with the tx_id "+id, whyInput) {
				continue
			}
			if id == "twice" {
				same = append(same, b)
				continue
			}
			c.finish(verbCommit, b, "a prepared branch with the tx_id "+id, whyInput)
		}
		if len(same) == 2 { // an id that was rolled back and forgotten may run anew
			c.mustRollback(same[0])
			c.prepare(same[1], voteCommit, "the same prepare again, after another transaction of the same tx_id was rolled back", whyInput)
			c.finish(verbCommit, same[1], "a prepared branch, after another transaction of the same tx_id was rolled back", whyInput)
		}
	}},
	{name: "headers", title: "headers that it does not know do no harm", run: func(c *check) {
		b := c.branch()
		for _, header := range []http.Header{
			{"Content-Type": {"application/json"}},
			{
				"Content-Type": {"application/json; charset=utf-8"}, "Idempotency-Key": {b.xid.String() + "/" + c.s.Participant + "/prepare"},
				"Traceparent": {c.trace}, "Tracestate": {"a=b,c=d"}, "Baggage": {"x=y"}, "X-Request-Id": {"1"},
			},
			{"Content-Type": {"application/json"}, "Traceparent": {"not a trace"}},
		} {
			c.mayHold(b)
			sent := header.Clone()
			a := c.send(c.ctx, http.MethodPost, c.s.base.JoinPath(verbPrepare), header, c.body(verbPrepare, b), true)
			if vote, err := a.vote(); err != nil || vote != voteCommit {
				text, _ := json.Marshal(sent)
				c.fail(a.sent+" with the headers "+string(text), a.got(), "vote_commit, the first time and again", whyInput)
			}
		}
	}},
}

// pad grows a payload to about n bytes without changing what it means, where that
// is possible: by white space after its first bracket. Null becomes a text.
func pad(payload json.RawMessage, n int) json.RawMessage {
	payload = bytes.TrimSpace(payload)
	space := bytes.Repeat([]byte(" "), max(n-len(payload), 0))
	switch payload[0] {
	case '{', '[':
		return append(append(payload[:1:1], space...), payload[1:]...)
	case 'n':
		return append(append([]byte(`"`), bytes.Repeat([]byte("x"), n-2)...), '"')
	}
	return append(space, payload...)
}
