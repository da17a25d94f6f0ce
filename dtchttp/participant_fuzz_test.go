package dtchttp

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dtc-project/dtc"
)

// FuzzParticipantRequest: what a handler hands on is what a coordinator could have
// meant, and survives being sent on.
func FuzzParticipantRequest(f *testing.F) {
	f.Add(false, []byte(partVoteFor))
	f.Add(true, []byte(partFinish))
	f.Add(false, []byte(`{"tx_id":"order-1",`+partXID+`,"branch":"stock","payload":[1e9999,"\ud800"],"low_water":""}`))
	f.Add(true, []byte(`{"tx_id":"",`+partXID+`,"branch":"stock","attempt":1.0}`))
	f.Fuzz(func(t *testing.T, finish bool, body []byte) {
		verb := partPrepare
		if finish {
			verb = partCommit
		}
		b, trouble := partDecode(verb, "stock", body)
		if trouble != nil {
			if trouble.Status < 400 || trouble.Status > 499 || trouble.Detail == "" || len(trouble.Detail) > partMaxReason {
				t.Fatalf("refused with %+v", trouble)
			}
			return
		}
		if b.Participant != "stock" || b.XID.IsZero() || b.Attempt < 1 || len(b.Payload) > dtc.MaxPayload ||
			b.Payload != nil && !json.Valid(b.Payload) || !b.LowWater.IsZero() && b.LowWater.Log != b.XID.Log {
			t.Fatalf("handed on: %+v", b)
		}
		again, err := callFinishBody(b)
		if !finish {
			again, err = callPrepareBody(b)
		}
		if err != nil {
			t.Fatalf("%+v cannot be sent on: %v", b, err)
		}
		c, trouble := partDecode(verb, "stock", again)
		if y := b.Deadline.UTC().Year(); y < 0 || y > 9999 {
			return // no time of RFC 3339 in UTC
		}
		if trouble != nil {
			t.Fatalf("%s is refused when it is sent on: %+v", again, trouble)
		}
		if !c.Deadline.Equal(b.Deadline.Truncate(time.Millisecond)) {
			t.Fatalf("deadline %v became %v", b.Deadline, c.Deadline)
		}
		b.Deadline, c.Deadline = time.Time{}, time.Time{}
		if !reflect.DeepEqual(b, c) {
			t.Fatalf("%+v became %+v", b, c)
		}
	})
}

func FuzzParticipantQuestion(f *testing.F) {
	f.Add("log=" + callLog.String() + "&limit=7&after=" + callXID.String())
	f.Add("log=" + callLog.String() + "%0a&limit=+7;")
	f.Fuzz(func(t *testing.T, query string) {
		q, trouble := partDecodeQuestion(query)
		if trouble == nil && (q.limit < 1 || q.limit > partMaxPage || !q.after.IsZero() && q.after.Log != q.log) {
			t.Fatalf("understood as %+v", q)
		}
	})
}

// FuzzCallerAnswer: an answer becomes a commit vote, or an acknowledgement, only by
// what the contract says it is.
func FuzzCallerAnswer(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"vote":"vote_commit"}`), false)
	f.Add(200, "", []byte(`{"vote":"vote_abort","reason":"\u0000\ud800"}`), true)
	f.Add(409, "", []byte(`{"state":"rolled_back"}`), false)
	f.Add(422, "application/problem+json", []byte(`{"detail":"x\ny"}`), false)
	f.Add(503, "text/html", []byte("\n\x00\xff<html>"), false)
	f.Fuzz(func(t *testing.T, status int, media string, body []byte, cut bool) {
		a := callAnswer{verb: "prepare", status: status, media: media, body: body}
		if cut {
			a.cut = errors.New("cut")
		}
		vote, err := a.vote()
		text := map[string]any{}
		whole := !cut && json.Unmarshal(body, &text) == nil
		switch {
		case vote == dtc.VoteCommit:
			if err != nil || status != 200 || !whole || text["vote"] != "vote_commit" {
				t.Fatalf("%d %q is a vote to commit: %v", status, body, err)
			}
		case err == nil || errors.Is(err, dtc.Refuse(nil)):
			if status != 200 || !whole {
				t.Fatalf("%d %q is a vote: %v, %v", status, body, vote, err)
			}
		case errors.Is(err, dtc.Fault(nil)) == errors.Is(err, dtc.ErrNoAnswer):
			t.Fatalf("%d %q: %v is neither a no nor no answer, or both", status, body, err)
		}
		callCheckText(t, err)
		var finished *dtc.FinishedError
		err = a.finished(dtc.Committed)
		switch {
		case err == nil && status/100 != 2 && (status != 409 || text["state"] != "committed"),
			errors.As(err, &finished) && (!whole || text["state"] != "rolled_back" || finished.Outcome != dtc.RolledBack),
			errors.Is(err, dtc.ErrUnknownBranch) != (status == 404 || status == 410):
			t.Fatalf("commit: %d %q is %v", status, body, err)
		}
		callCheckText(t, err)
	})
}

func callCheckText(t *testing.T, err error) {
	if err != nil && (len(err.Error()) > 2*partMaxReason || !utf8.ValidString(err.Error())) {
		t.Fatalf("an error of %d bytes: %.100q", len(err.Error()), err)
	}
}

func FuzzCallerListing(f *testing.F) {
	f.Add([]byte(`{"branches":[`+callEntry(1)+`,`+callEntry(2)+`],"next":null,"complete":true}`), []byte(`{"branches":[],"next":"x"}`))
	f.Add([]byte(`{"branches":[`+callEntry(1)+`],"next":"x"}`), []byte(`{"branches":[`+callEntry(1)+`],"complete":true}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		l := callList{id: "stock", log: callLog, seen: map[dtc.XID]bool{}}
		for _, body := range [][]byte{first, second} {
			next, err := l.page(callAnswer{status: 200, body: body})
			if err != nil {
				callCheckText(t, err)
				return
			}
			var page struct{ Complete bool }
			if json.Unmarshal(body, &page) != nil || next == "" && !page.Complete {
				t.Fatalf("%q ends a listing", body)
			}
		}
		unique := map[dtc.XID]bool{}
		for _, b := range l.all {
			if b.XID.Log != callLog || unique[b.XID] {
				t.Fatalf("listed %v", l.all)
			}
			unique[b.XID] = true
		}
	})
}
