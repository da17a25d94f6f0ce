package dtchttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
)

// partMaxBody bounds the body of a request, in bytes.
const partMaxBody = 1 << 20

// The calls, as they are named in paths, Idempotency-Key and messages.
const (
	partPrepare  = "prepare"
	partCommit   = "commit"
	partRollback = "rollback"
	partInDoubt  = "in-doubt"
)

// partReadBody reads the whole body of a call, so that the server notices from
// then on when the caller goes away.
func partReadBody(w http.ResponseWriter, r *http.Request) ([]byte, *partProblem) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, partTrouble(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be application/json")
	}
	if set, ok := params["charset"]; ok && !strings.EqualFold(set, "utf-8") {
		return nil, partTrouble(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be UTF-8")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, partTrouble(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must not be compressed")
	}
	body, err := partReadAll(http.MaxBytesReader(w, r.Body, partMaxBody), r.ContentLength)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, partTrouble(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is longer than %d bytes", partMaxBody))
	case err != nil:
		// Half a request proves nothing: not even that it was meant.
		return nil, partTrouble(http.StatusRequestTimeout, "bad_request", "the body could not be read to its end")
	}
	return body, nil
}

// partReadAll reads a body to its end; size is how long it says it is, or -1. What it
// says is believed for a few pages only: the rest takes memory when it has come.
func partReadAll(r io.Reader, size int64) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, min(max(size, 0), 4<<10)+bytes.MinRead))
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

// partDecode reads the body of a call to the named participant.
func partDecode(verb, id string, body []byte) (b dtc.Branch, trouble *partProblem) {
	bad := func(field, format string, args ...any) (dtc.Branch, *partProblem) {
		t := partTrouble(http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...))
		t.Field = field
		return dtc.Branch{}, t
	}
	members, err := jsonMembers(body)
	if err != nil {
		return bad("", "the body is not understood: %v", err)
	}
	text := map[string]string{}
	for name, value := range members {
		switch name {
		case "tx_id", "xid", "branch", "low_water":
		case "attempt":
			continue
		case "payload", "deadline":
			if verb != partPrepare {
				return bad(name, "%s goes with prepare only", name)
			}
			if name == "payload" {
				continue
			}
		default:
			return bad(partShorten(name, 64), "the field %q is not known", partShorten(name, 64))
		}
		s, ok := partString(value)
		if !ok {
			return bad(name, "%s is no string", name)
		}
		if jsonHalf(value) {
			return bad(name, "%s has half of a surrogate pair, which is no character", name)
		}
		text[name] = s
	}
	if b.XID, err = dtc.ParseXID(text["xid"]); err != nil {
		return bad("xid", "xid names no transaction of a coordinator")
	}
	// An orphan that the coordinator found by listing is rolled back by its XID
	// alone: no log knows any more what the caller had named it.
	if s := text["tx_id"]; !partGoodTxID(s) && (s != "" || verb == partPrepare) {
		return bad("tx_id", "tx_id must be 1 to %d bytes of printable UTF-8 without spaces", partMaxTxID)
	}
	b.TxID = dtc.TxID(text["tx_id"])
	if b.Participant = text["branch"]; b.Participant != id {
		return bad("branch", "branch is %q, and this is participant %q", partShorten(b.Participant, partMaxID), id)
	}
	b.Attempt = 1
	if v := members["attempt"]; !partNull(v) && (json.Unmarshal(v, &b.Attempt) != nil || b.Attempt < 1) {
		return bad("attempt", "attempt must be a whole number from 1")
	}
	if s := text["low_water"]; s != "" {
		if b.LowWater, err = dtc.ParseXID(s); err != nil || b.LowWater.Log != b.XID.Log {
			return bad("low_water", "low_water names no transaction of the same log")
		}
	}
	if s := text["deadline"]; s != "" {
		if b.Deadline, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return bad("deadline", "deadline is no time of RFC 3339")
		}
	}
	if v := members["payload"]; !partNull(v) {
		if len(v) > dtc.MaxPayload {
			t := partTrouble(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the payload has %d bytes; at most %d are allowed", len(v), dtc.MaxPayload))
			t.Field = "payload"
			return dtc.Branch{}, t
		}
		b.Payload = v
	}
	return b, nil
}
