package dtchttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// partFixed answers every call in the same way, and notes the last one.
type partFixed struct {
	vote   dtc.Vote
	err    error
	list   []dtc.InDoubtBranch
	plain  bool
	panics bool

	got   dtc.Branch
	trace string
	calls int
}

func (p *partFixed) ID() string { return "stock" }

func (p *partFixed) call(ctx context.Context, b dtc.Branch) error {
	p.got, p.trace = b, Traceparent(ctx)
	p.calls++
	if p.panics {
		panic("oh no")
	}
	return p.err
}

func (p *partFixed) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	return p.vote, p.call(ctx, b)
}
func (p *partFixed) Commit(ctx context.Context, b dtc.Branch) error   { return p.call(ctx, b) }
func (p *partFixed) Rollback(ctx context.Context, b dtc.Branch) error { return p.call(ctx, b) }
func (p *partFixed) Listing() bool                                    { return !p.plain }
func (p *partFixed) InDoubt(ctx context.Context, _ dtc.LogID) ([]dtc.InDoubtBranch, error) {
	return p.list, p.call(ctx, dtc.Branch{})
}

// partRequest has a handler answer a request.
func partRequest(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// partIsProblem checks that an answer is a problem document with the given code.
func partIsProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code, field string) {
	t.Helper()
	var p partProblem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("answered %d %q, which is no problem document", w.Code, w.Body)
	}
	if w.Code != status || p.Status != status || p.Code != code || p.Field != field || p.Title != http.StatusText(status) || p.Detail == "" {
		t.Errorf("answered %d %s, want status %d, code %q, field %q", w.Code, w.Body, status, code, field)
	}
}

const (
	partXID     = `"xid":"dtc.aebagaaaaaaaaaaa.7-9f3a10cc.42"`
	partFinish  = `{"tx_id":"order-1",` + partXID + `,"branch":"stock","attempt":3,"low_water":"dtc.aebagaaaaaaaaaaa.7-9f3a10cc.17"}`
	partVoteFor = `{"tx_id":"order-1",` + partXID + `,"branch":"stock","attempt":3,"deadline":"2026-03-04T04:06:07.008Z",` +
		`"low_water":"dtc.aebagaaaaaaaaaaa.7-9f3a10cc.17","payload": {"n": 1.50, "s":"<&>"} }`
)

// TestHandlerAnswers: what each answer of a participant is on the wire.
func TestHandlerAnswers(t *testing.T) {
	for _, tt := range []struct {
		verb   string
		p      partFixed
		status int
		body   string // of a 200
		code   string // of another
	}{
		{"prepare", partFixed{vote: dtc.VoteCommit}, 200, `{"vote":"vote_commit"}`, ""},
		{"prepare", partFixed{vote: dtc.VoteReadOnly}, 200, `{"vote":"read_only"}`, ""},
		{"prepare", partFixed{}, 200, `{"vote":"vote_abort"}`, ""},
		{"prepare", partFixed{err: dtc.Refuse(errors.New("sold out"))}, 200, `{"vote":"vote_abort","reason":"sold out"}`, ""},
		{"prepare", partFixed{err: dtc.Refuse(errors.New(strings.Repeat("é", 1<<20)))}, 200, `{"vote":"vote_abort","reason":"` + strings.Repeat("é", partMaxReason/2) + `"}`, ""},
		{"prepare", partFixed{err: errors.New("broke")}, 422, "", "participant_error"},
		{"prepare", partFixed{err: dtc.Fault(nil)}, 422, "", "participant_error"},
		{"prepare", partFixed{vote: dtc.VoteCommit, err: dtc.NoAnswer(nil)}, 422, "", "participant_error"},
		{"prepare", partFixed{vote: 77}, 422, "", "participant_error"},
		{"prepare", partFixed{panics: true}, 422, "", "participant_error"},
		{"prepare", partFixed{err: syscall.ENOENT}, 422, "", "participant_error"},
		{"prepare", partFixed{err: dtc.NoAnswer(nil)}, 503, "", "no_answer"},
		{"prepare", partFixed{err: syscall.ECONNREFUSED}, 503, "", "no_answer"},
		{"prepare", partFixed{err: os.ErrDeadlineExceeded}, 503, "", "no_answer"},
		{"prepare", partFixed{err: context.Canceled}, 503, "", "no_answer"},
		{"prepare", partFixed{err: io.ErrUnexpectedEOF}, 503, "", "no_answer"},
		{"prepare", partFixed{err: dtc.NoAnswer(context.DeadlineExceeded)}, 504, "", "no_answer"},
		{"commit", partFixed{}, 200, `{}`, ""},
		{"rollback", partFixed{}, 200, `{}`, ""},
		{"commit", partFixed{err: &dtc.FinishedError{Outcome: dtc.RolledBack}}, 409, "rolled_back", "finished"},
		{"rollback", partFixed{err: fmt.Errorf("x: %w", &dtc.FinishedError{Outcome: dtc.Committed})}, 409, "committed", "finished"},
		{"commit", partFixed{err: &dtc.FinishedError{}}, 500, "", "participant_error"},
		{"commit", partFixed{err: fmt.Errorf("x: %w", dtc.ErrUnknownBranch)}, 404, "", "unknown_branch"},
		{"rollback", partFixed{err: dtc.ErrUnknownBranch}, 404, "", "unknown_branch"},
		{"commit", partFixed{err: errors.New("broke")}, 500, "", "participant_error"},
		{"commit", partFixed{panics: true}, 500, "", "participant_error"},
		{"commit", partFixed{err: dtc.NoAnswer(nil)}, 503, "", "no_answer"},
		{"rollback", partFixed{err: context.DeadlineExceeded}, 504, "", "no_answer"},
	} {
		t.Run(fmt.Sprintf("%s %d %s", tt.verb, tt.status, tt.code), func(t *testing.T) {
			body := partFinish
			if tt.verb == "prepare" {
				body = partVoteFor
			}
			w := partRequest(NewParticipantHandler(&tt.p, &HandlerOptions{Logger: partQuiet}), "POST", "/"+tt.verb, body)
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			if tt.status == 200 {
				if w.Code != 200 || w.Body.String() != tt.body || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("answered %d %.200s", w.Code, w.Body)
				}
				return
			}
			partIsProblem(t, w, tt.status, tt.code, "")
			if later := w.Header().Get("Retry-After") != ""; later != (tt.status == 503 || tt.status == 504) {
				t.Errorf("%d: Retry-After is %q", w.Code, w.Header().Get("Retry-After"))
			}
			var p partProblem
			_ = json.Unmarshal(w.Body.Bytes(), &p)
			if p.Participant != "stock" || tt.status == 409 && p.State != tt.body {
				t.Errorf("answered %s", w.Body)
			}
		})
	}
}

// TestHandlerHandsOn: the participant gets what was sent.
func TestHandlerHandsOn(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var p partFixed
	h := NewParticipantHandler(&p, nil)
	want := callBranch()
	for verb, body := range map[string]string{"prepare": partVoteFor, "commit": partFinish, "rollback": partFinish} {
		if verb != "prepare" {
			want.Payload, want.Deadline = nil, time.Time{}
		} else {
			want.Payload, want.Deadline = callBranch().Payload, time.Date(2026, 3, 4, 4, 6, 7, 8_000_000, time.UTC)
		}
		w := partRequest(h, "POST", "/"+verb, body, "Traceparent", trace, "Content-Type", "Application/JSON; charset=utf-8")
		if w.Code != 200 || fmt.Sprintf("%+v", p.got) != fmt.Sprintf("%+v", want) || p.trace != trace {
			t.Errorf("%s: answered %d, handed on %+v with trace %q; want %+v", verb, w.Code, p.got, p.trace, want)
		}
	}
	// What may be left out or null.
	for _, body := range []string{
		`{"tx_id":"order-1",` + partXID + `,"branch":"stock"}`,
		`{"tx_id":"order-1",` + partXID + `,"branch":"stock","attempt":null,"deadline":null,"low_water":null,"payload":null}`,
	} {
		want := dtc.Branch{Participant: "stock", TxID: "order-1", XID: callXID, Attempt: 1}
		w := partRequest(h, "POST", "/prepare", body)
		if w.Code != 200 || fmt.Sprintf("%+v", p.got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: answered %d, handed on %+v; want %+v", body, w.Code, p.got, want)
		}
	}
	// An orphan is rolled back by its XID alone.
	if w := partRequest(h, "POST", "/rollback", `{"tx_id":"",`+partXID+`,"branch":"stock"}`); w.Code != 200 || p.got.TxID != "" {
		t.Errorf("rollback of an orphan: %d %s", w.Code, w.Body)
	}
}

// TestHandlerRefuses: nothing that is wrong reaches the participant.
func TestHandlerRefuses(t *testing.T) {
	with := func(old, replacement string) string {
		s := strings.Replace(partVoteFor, old, replacement, 1)
		if s == partVoteFor {
			panic(old)
		}
		return s
	}
	for _, tt := range []struct {
		name, method, path, body, media string
		status                          int
		code, field                     string
	}{
		{"get", "GET", "/prepare", "", "application/json", 405, "method_not_allowed", ""},
		{"put", "PUT", "/commit", partFinish, "application/json", 405, "method_not_allowed", ""},
		{"post", "POST", "/in-doubt", "", "application/json", 405, "method_not_allowed", ""},
		{"elsewhere", "POST", "/prepare/", partVoteFor, "application/json", 404, "not_found", ""},
		{"root", "GET", "/", "", "", 404, "not_found", ""},
		{"no media type", "POST", "/prepare", partVoteFor, "", 415, "unsupported_media_type", ""},
		{"a form", "POST", "/prepare", partVoteFor, "application/x-www-form-urlencoded", 415, "unsupported_media_type", ""},
		{"bad media type", "POST", "/prepare", partVoteFor, "application/json; =", 415, "unsupported_media_type", ""},
		{"too long", "POST", "/prepare", partVoteFor + strings.Repeat(" ", partMaxBody), "application/json", 413, "too_large", ""},
		{"long payload", "POST", "/prepare", with(`1.50`, `"`+strings.Repeat("x", dtc.MaxPayload)+`"`), "application/json", 413, "too_large", "payload"},
		{"empty", "POST", "/prepare", "", "application/json", 400, "bad_request", ""},
		{"no object", "POST", "/prepare", "[]", "application/json", 400, "bad_request", ""},
		{"cut off", "POST", "/prepare", partVoteFor[:len(partVoteFor)-1], "application/json", 400, "bad_request", ""},
		{"two", "POST", "/commit", partFinish + partFinish, "application/json", 400, "bad_request", ""},
		{"not UTF-8", "POST", "/prepare", with("<&>", "\xff"), "application/json", 400, "bad_request", ""},
		{"unknown field", "POST", "/prepare", with(`"attempt"`, `"more":1,"attempt"`), "application/json", 400, "bad_request", "more"},
		{"field twice", "POST", "/prepare", with(`"attempt"`, `"branch":"stock","attempt"`), "application/json", 400, "bad_request", ""},
		{"other case", "POST", "/prepare", with(`"branch"`, `"Branch"`), "application/json", 400, "bad_request", "Branch"},
		{"payload with commit", "POST", "/commit", with(`"deadline":"2026-03-04T04:06:07.008Z",`, ""), "application/json", 400, "bad_request", "payload"},
		{"deadline with commit", "POST", "/commit", with(`,"payload": {"n": 1.50, "s":"<&>"}`, ""), "application/json", 400, "bad_request", "deadline"},
		{"no xid", "POST", "/prepare", with(partXID, `"xid":""`), "application/json", 400, "bad_request", "xid"},
		{"bad xid", "POST", "/prepare", with("7-9f3a10cc.42", "07-9f3a10cc.42"), "application/json", 400, "bad_request", "xid"},
		{"xid a number", "POST", "/prepare", with(partXID, `"xid":7`), "application/json", 400, "bad_request", "xid"},
		{"no tx_id", "POST", "/prepare", with(`order-1`, ``), "application/json", 400, "bad_request", "tx_id"},
		{"tx_id with a space", "POST", "/rollback", strings.Replace(partFinish, "order-1", "order 1", 1), "application/json", 400, "bad_request", "tx_id"},
		{"long tx_id", "POST", "/prepare", with(`order-1`, strings.Repeat("x", 129)), "application/json", 400, "bad_request", "tx_id"},
		{"no branch", "POST", "/prepare", with(`"stock"`, `null`), "application/json", 400, "bad_request", "branch"},
		{"another's branch", "POST", "/commit", strings.Replace(partFinish, "stock", "other", 1), "application/json", 400, "bad_request", "branch"},
		{"attempt 0", "POST", "/prepare", with(`"attempt":3`, `"attempt":0`), "application/json", 400, "bad_request", "attempt"},
		{"attempt text", "POST", "/prepare", with(`"attempt":3`, `"attempt":"3"`), "application/json", 400, "bad_request", "attempt"},
		{"bad low_water", "POST", "/prepare", with(`cc.17`, `cc.x`), "application/json", 400, "bad_request", "low_water"},
		{"low_water of another log", "POST", "/prepare", with(`"low_water":"dtc.a`, `"low_water":"dtc.b`), "application/json", 400, "bad_request", "low_water"},
		{"bad deadline", "POST", "/prepare", with(`2026-03-04T`, `2026-03-04 `), "application/json", 400, "bad_request", "deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p partFixed
			w := partRequest(NewParticipantHandler(&p, nil), tt.method, tt.path, tt.body, "Content-Type", tt.media)
			partIsProblem(t, w, tt.status, tt.code, tt.field)
			if p.calls != 0 {
				t.Error("the participant was called")
			}
			if (w.Header().Get("Allow") != "") != (w.Code == 405) {
				t.Errorf("%d: Allow is %q", w.Code, w.Header().Get("Allow"))
			}
		})
	}
	var p partFixed
	h := NewParticipantHandler(&p, nil)
	partIsProblem(t, partRequest(h, "POST", "/prepare", partVoteFor, "Content-Encoding", "gzip"), 415, "unsupported_media_type", "")
}

func TestHandlerAsksForAToken(t *testing.T) {
	var p partFixed
	tokens := []string{"old", "new"}
	h := NewParticipantHandler(&p, &HandlerOptions{Tokens: func() []string { return tokens }})
	for header, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer ol": 401, "Bearer older": 401, "Basic old": 401, "old": 401,
		"Bearer old": 200, "bearer new": 200,
	} {
		p.calls = 0
		w := partRequest(h, "POST", "/commit", partFinish, "Authorization", header)
		if w.Code != want || (p.calls == 1) != (want == 200) {
			t.Errorf("Authorization %q: %d after %d calls, want %d", header, w.Code, p.calls, want)
		}
		if w.Code == 401 && w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("WWW-Authenticate is %q", w.Header().Get("WWW-Authenticate"))
		}
	}
	tokens = []string{""}
	for _, header := range []string{"Bearer ", "Bearer", "Bearer old"} {
		if w := partRequest(h, "GET", "/in-doubt?log="+callLog.String(), "", "Authorization", header); w.Code != 401 {
			t.Errorf("Authorization %q without any token: %d, want 401", header, w.Code)
		}
	}
}
