package dtchttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/failpoint"
)

// What a request to the control API may hold. Times are bounded so that nobody waits
// for ever by mistake.
const (
	controlMaxDepth    = 64
	controlMaxBranches = 1000
	controlMaxTime     = time.Hour
	controlMaxPage     = 1000
	controlPage        = 100
	controlPageBytes   = 4 << 20 // of a list of transactions: half of what a [Client] reads
)

// controlRequest is what the body of a call says. A call takes some of the fields.
type controlRequest struct {
	ID             dtc.TxID
	Branches       []dtc.Branch
	Participant    string
	Payload        json.RawMessage // empty if there is none, or null
	PrepareTimeout time.Duration
	CompletionWait time.Duration // negative: not at all
	Lifetime       time.Duration
	Outcome        dtc.Outcome
	Reason         string
	XID            dtc.XID // which transaction of the id is meant
}

func (q *controlRequest) options() *dtc.TxOptions {
	return &dtc.TxOptions{PrepareTimeout: q.PrepareTimeout, CompletionWait: q.CompletionWait, Lifetime: q.Lifetime, XID: q.XID}
}

// controlBad is a request that is wrong in a field.
func controlBad(field, format string, args ...any) *partProblem {
	t := partTrouble(http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...))
	t.Field = partShorten(field, 128)
	return t
}

// body reads and decodes the body of a call, which from then on is one of those in
// flight. A client that is slow to send it takes nobody's place.
func (h *ControlHandler) body(c *controlCall, fields ...string) (q controlRequest, trouble *partProblem) {
	counted := &controlBody{ReadCloser: c.r.Body, h: h, c: c}
	c.r.Body = counted
	text, trouble := controlRead(c.w, c.r)
	switch {
	case counted.full:
		return q, partTrouble(http.StatusTooManyRequests, "full", "the bodies of other requests take all the memory there is for them; nothing was done: ask again")
	case trouble != nil:
		return q, trouble
	}
	if q, trouble = controlDecode(text, fields); trouble != nil {
		return q, trouble
	}
	failpoint.Hit(failpoint.ServeRead)
	return q, h.enter(c)
}

// controlBody counts the memory that a body takes, as it comes, until the call is over.
// What a client only announces takes none.
type controlBody struct {
	io.ReadCloser
	h    *ControlHandler
	c    *controlCall
	full bool
}

func (b *controlBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.bytes += int64(n)
	if b.h.bytes.Add(int64(n)) > b.h.o.MaxBytes {
		b.full = true
		return 0, errors.New("too many bytes in flight")
	}
	return n, err
}

// controlRead reads a body. One that is empty needs no content type.
func controlRead(w http.ResponseWriter, r *http.Request) ([]byte, *partProblem) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength < 0 && r.Header.Get("Content-Type") == "" {
		var first [1]byte
		if n, err := r.Body.Read(first[:]); n == 0 && errors.Is(err, io.EOF) {
			return nil, nil
		}
	}
	return partReadBody(w, r)
}

// controlDecode decodes a body, which is one JSON object with no other members than
// the named ones.
func controlDecode(text []byte, fields []string) (q controlRequest, trouble *partProblem) {
	if len(text) == 0 {
		text = []byte("{}")
	}
	if depth := jsonDepth(text); depth > controlMaxDepth {
		return q, controlBad("", "the body is nested deeper than %d", controlMaxDepth)
	}
	members, err := jsonMembers(text)
	if err != nil {
		return q, controlBad("", "the body is not understood: %v", err)
	}
	return q, q.fill(members, fields, "")
}

// fill takes in the members of an object at a place in the body.
func (q *controlRequest) fill(members map[string]json.RawMessage, fields []string, at string) *partProblem {
	for name := range members {
		if !controlKnown(fields, name) {
			return controlBad(at+name, "the field %q is not known here", partShorten(name, 64))
		}
	}
	for _, name := range fields {
		value := members[name]
		if partNull(value) {
			continue
		}
		if trouble := q.take(name, value, at+name); trouble != nil {
			return trouble
		}
	}
	return nil
}

func controlKnown(fields []string, name string) bool {
	for _, f := range fields {
		if f == name {
			return true
		}
	}
	return false
}

// take takes in one member.
func (q *controlRequest) take(name string, value json.RawMessage, at string) *partProblem {
	switch name {
	case "branches":
		return q.takeBranches(value)
	case "payload":
		if len(value) > dtc.MaxPayload {
			t := partTrouble(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the payload has %d bytes; at most %d are allowed", len(value), dtc.MaxPayload))
			t.Field = at
			return t
		}
		q.Payload = value
		return nil
	}
	s, ok := partString(value)
	if !ok {
		return controlBad(at, "%s must be a string", at)
	}
	if jsonHalf(value) {
		return controlBad(at, "%s has half of a surrogate pair, which is no character", at)
	}
	switch name {
	case "id":
		q.ID = dtc.TxID(s)
		return controlCheckID(s, at)
	case "participant":
		q.Participant = s
		if partCheckID(s) != nil {
			return controlBad(at, "%s must be 1 to %d characters of [A-Za-z0-9._-]", at, partMaxID)
		}
	case "reason":
		q.Reason = s
	case "xid":
		x, err := dtc.ParseXID(s)
		if err != nil {
			return controlBad(at, "%s must be what the answer to begin said", at)
		}
		q.XID = x
	case "outcome":
		switch s {
		case dtc.Committed.String():
			q.Outcome = dtc.Committed
		case dtc.RolledBack.String():
			q.Outcome = dtc.RolledBack
		default:
			return controlBad(at, "%s must be committed or rolled_back", at)
		}
	case "prepare_timeout":
		return controlDuration(&q.PrepareTimeout, s, at, time.Millisecond)
	case "timeout":
		return controlDuration(&q.Lifetime, s, at, time.Millisecond)
	case "completion_wait":
		if trouble := controlDuration(&q.CompletionWait, s, at, 0); trouble != nil || q.CompletionWait > 0 {
			return trouble
		}
		q.CompletionWait = -1
	}
	return nil
}

func (q *controlRequest) takeBranches(value json.RawMessage) *partProblem {
	if value[0] != '[' {
		return controlBad("branches", "branches must be a list")
	}
	list := jsonItems(value, controlMaxBranches+1)
	if len(list) > controlMaxBranches {
		return controlBad("branches", "there are more than %d branches", controlMaxBranches)
	}
	seen := make(map[string]bool, len(list))
	for i, item := range list {
		at := "branches[" + strconv.Itoa(i) + "]"
		members, err := jsonMembers(item)
		if err != nil {
			return controlBad(at, "%s is not understood: %v", at, err)
		}
		var b controlRequest
		if trouble := b.fill(members, []string{"participant", "payload"}, at+"."); trouble != nil {
			return trouble
		}
		if b.Participant == "" {
			return controlBad(at+".participant", "%s names no participant", at)
		}
		if seen[b.Participant] {
			t := controlBad(at+".participant", "participant %s is named twice; a transaction has one branch for each", b.Participant)
			t.Participant = b.Participant
			return t
		}
		seen[b.Participant] = true
		q.Branches = append(q.Branches, dtc.Branch{Participant: b.Participant, Payload: b.Payload})
	}
	return nil
}

func controlCheckID(s, at string) *partProblem {
	if !partGoodTxID(s) {
		return controlBad(at, "%s must be 1 to %d bytes of printable UTF-8 without spaces", at, partMaxTxID)
	}
	return nil
}

func controlDuration(d *time.Duration, s, at string, least time.Duration) *partProblem {
	v, err := time.ParseDuration(s)
	if err != nil || v < least || v > controlMaxTime {
		return controlBad(at, `%s must be a duration such as "5s" or "250ms", from %v to %v`, at, least, controlMaxTime)
	}
	*d = v
	return nil
}

// jsonDepth returns how deep a JSON text is nested.
func jsonDepth(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}
