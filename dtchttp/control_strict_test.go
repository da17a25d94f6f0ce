package dtchttp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlHalfCharacters: ids that differ are not read as one. Half of a surrogate
// pair is no character, and decoders make the same one of all.
func TestControlHalfCharacters(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
	for _, id := range []string{`\ud800`, `\udfff`, `x\uD83Dy`, `\ud83d\ud83d`, `\ude00\ud83d`, `\ud83d\\ude00`, `\\\ud800`, `\ud83d\ude00\ud800`} {
		a.want("POST", "/v1/transactions", `{"id":"`+id+`",`+order+`}`, 400, map[string]any{"code": "bad_request", "field": "id"})
		a.want("POST", "/v1/transactions/begin", `{"id":"`+id+`"}`, 400, map[string]any{"code": "bad_request", "field": "id"})
	}
	a.want("POST", "/v1/transactions/t/branches/orders/resolve", `{"outcome":"committed","reason":"\udc00"}`, 400, map[string]any{"field": "reason"})
	if n := a.c.Stats().Begun; n != 0 {
		t.Errorf("%d were begun", n)
	}
	for text, id := range map[string]string{`\ud83d\ude00`: "😀", `\uD83D\uDE00\ud83d\ude01`: "😀😁", `\ufffd`: "\ufffd", `\\ud800`: `\ud800`, `\\\\ud800`: `\\ud800`, `\"\u0041`: `"A`} {
		a.want("POST", "/v1/transactions", `{"id":"`+text+`",`+order+`}`, 200, map[string]any{"id": id, "committed": true})
	}
	// A payload is handed on, and not read.
	a.want("POST", "/v1/transactions", `{"branches":[{"participant":"orders","payload":"\ud800"}]}`, 200, map[string]any{"committed": true})
}

// TestParticipantHalfCharacters: nor does a participant take one transaction for another.
func TestParticipantHalfCharacters(t *testing.T) {
	h := dtchttp.NewParticipantHandler(dtctest.NewMemory("orders"), nil)
	a := &api{t: t, log: new(lockedBuffer)}
	for id, want := range map[string]int{`\ud800`: 400, `\ud83d\ude00`: 200} {
		body := `{"tx_id":"` + id + `","xid":"dtc.lviudzaqwherqils.1-60017f77.1","branch":"orders","attempt":1}`
		if status, answer := a.serve(h, "POST", "/prepare", body, "Content-Type", "application/json"); status != want || want == 400 && !strings.Contains(answer, `"field":"tx_id"`) {
			t.Errorf("%s: %d %s", id, status, answer)
		}
	}
}

// TestControlCharset: JSON is UTF-8, and who says that it is something else is not
// understood.
func TestControlCharset(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	for media, want := range map[string]int{
		"application/json; charset=UTF-8": 201, `application/json;charset="utf-8"`: 201, "application/json; version=1": 201,
		"application/json; charset=utf-16": 415, "application/json; charset=iso-8859-1": 415, "application/json; charset=": 415, "application/json; charset": 415,
	} {
		if status, answer := a.serve(a.h, "POST", "/v1/transactions/begin", "{}", "Content-Type", media); status != want || want == 415 && !strings.Contains(answer, `"unsupported_media_type"`) {
			t.Errorf("%s: %d %s", media, status, answer)
		}
	}
}

// TestControlQuery: a filter that cannot be read does not select everything.
func TestControlQuery(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	for _, query := range []string{"state=%zz", "%", "limit=1&state=%4", "state=active;limit=1", "after=%f"} {
		for _, list := range []string{"transactions", "participants"} {
			a.want("GET", "/v1/"+list+"?"+query, "", 400, map[string]any{"code": "bad_request"})
		}
	}
	a.want("GET", "/v1/transactions?state=act%69ve&", "", 200, nil)
}

// TestControlCursor: a cursor that is none of ours does not look like the last page.
func TestControlCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{CompletionWait: -1}, dtchttp.ControlOptions{})
		mute(a.members[1])
		for _, id := range []string{"t", "u"} {
			run(a, id, "payment")
		}
		next := a.want("GET", "/v1/transactions?limit=1", "", 200, map[string]any{"transactions.0.id": "u"})["next"].(string)
		a.want("GET", "/v1/transactions?limit=1&after="+next, "", 200, map[string]any{"transactions.0.id": "t", "next": nil})
		other := strings.Replace(next, a.c.ID().String(), "lviudzaqwherqils", 1)
		if other == next {
			t.Fatal("the log has the id of the other one")
		}
		a.want("GET", "/v1/transactions?after="+other, "", 400, map[string]any{"code": "bad_request", "field": "after"})
		for _, after := range []string{"%00", "a%20b", "%C3%B6", strings.Repeat("z", 65)} {
			a.want("GET", "/v1/participants?after="+after, "", 400, map[string]any{"code": "bad_request", "field": "after"})
		}
		a.want("GET", "/v1/participants?after=nobody", "", 200, map[string]any{"participants.0.id": "orders"}) // it may have left meanwhile
	})
}

// serve makes a request with headers of its own, and returns the answer as it is.
func (a *api) serve(h http.Handler, method, path, body string, header ...string) (int, string) {
	a.t.Helper()
	r, err := http.NewRequest(method, "http://dtc.test"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}
