package dtchttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

var (
	callLog = dtc.LogID{1, 2, 3}
	callXID = dtc.XID{Log: callLog, Incarnation: dtc.Incarnation{Number: 7, Nonce: 0x9f3a10cc}, Seq: 42}
)

func callBranch() dtc.Branch {
	return dtc.Branch{
		Participant: "stock", TxID: "order-1", XID: callXID, Attempt: 3,
		Payload: []byte(`{"n": 1.50, "s":"<&>"}`), LowWater: callSeq(17),
		Deadline: time.Date(2026, 3, 4, 5, 6, 7, 8_900_000, time.FixedZone("", 3600)),
	}
}

func callSeq(seq uint64) dtc.XID {
	x := callXID
	x.Seq = seq
	return x
}

// callServe serves h and returns a participant that calls it.
func callServe(t *testing.T, h http.HandlerFunc, opts *ParticipantOptions) *Participant {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return callParticipant(t, "stock", s.URL+"/base/", opts)
}

func callParticipant(t testing.TB, id, url string, opts *ParticipantOptions) *Participant {
	t.Helper()
	p, err := NewParticipant(id, url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// callKind says in one line what the coordinator makes of an answer.
func callKind(vote dtc.Vote, err error) string {
	var finished *dtc.FinishedError
	switch {
	case err == nil:
		return vote.String()
	case vote != dtc.VoteAbort:
		return fmt.Sprintf("%v and %v", vote, err)
	case errors.Is(err, dtc.Fault(nil)):
		return "fault: " + err.Error()
	case errors.Is(err, dtc.Refuse(nil)):
		return "refused: " + err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "too late"
	case errors.Is(err, dtc.ErrNoAnswer):
		return "no answer"
	case errors.As(err, &finished):
		return "finished: " + finished.Outcome.String()
	case errors.Is(err, dtc.ErrUnknownBranch):
		return "unknown branch"
	}
	return "error"
}

type callReply struct {
	status int
	media  string
	body   string
}

func (a callReply) serve(w http.ResponseWriter, _ *http.Request) {
	if a.media != "" {
		w.Header().Set("Content-Type", a.media)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func TestCallerUnderstandsPrepare(t *testing.T) {
	const problem = "application/problem+json"
	for _, tt := range []struct {
		reply callReply
		want  string
	}{
		{callReply{200, "", `{"vote":"vote_commit"}`}, "vote_commit"},
		{callReply{200, "", ` {"vote":"read_only","reason":null,"more":[1,{}]} `}, "read_only"},
		{callReply{200, "", `{"vote":"vote_abort"}`}, "vote_abort"},
		{callReply{200, "", `{"reason":"sold out","vote":"vote_abort"}`}, "refused: sold out"},
		{callReply{200, "", `{"vote":"vote_commit","reason":"because"}`}, "vote_commit"},

		{callReply{200, "text/html", "<html>welcome</html>"}, "no answer"},
		{callReply{200, "", `{"vote":"committed"}`}, "no answer"},
		{callReply{200, "", `{"Vote":"vote_commit"}`}, "no answer"},
		{callReply{200, "", `{"vote":"vote_abort","vote":"vote_commit"}`}, "no answer"},
		{callReply{200, "", `{"vote":["vote_commit"]}`}, "no answer"},
		{callReply{200, "", `{"vote":"vote_abort","reason":{}}`}, "no answer"},
		{callReply{200, "", `{"vote":"vote_com`}, "no answer"},
		{callReply{200, "", `{"vote":"vote_commit"} {"vote":"vote_abort"}`}, "no answer"},
		{callReply{200, "", `"vote_commit"`}, "no answer"},
		{callReply{200, "", `null`}, "no answer"},
		{callReply{200, "", ""}, "no answer"},
		{callReply{200, "", "{\"vote\":\"vote_commit\",\"x\":\"\xff\"}"}, "no answer"},
		{callReply{200, "", `{"vote":"vote_commit"}` + strings.Repeat(" ", callMaxAnswer)}, "no answer"},
		{callReply{201, "", `{"vote":"vote_commit"}`}, "no answer"},
		{callReply{204, "", ""}, "no answer"},

		{callReply{300, "", `{"vote":"vote_commit"}`}, "no answer"},
		{callReply{304, "", ""}, "no answer"},
		{callReply{400, "", "first line\nsecond line"}, "fault: first line"},
		{callReply{400, "", "\r\n  a\x00b\tc \r\nsecond"}, "fault: ab c"},
		{callReply{401, "", ""}, "fault: answered 401 Unauthorized"},
		{callReply{404, "", "404 page not found\n"}, "fault: 404 page not found"},
		{callReply{409, "", `{"state":"committed"}`}, `fault: {"state":"committed"}`},
		{callReply{422, problem, `{"title":"T","detail":"two\nlines"}`}, "fault: two\nlines"},
		{callReply{422, problem + "; charset=utf-8", `{"title":"T"}`}, "fault: T"},
		{callReply{422, problem, `{"title":`}, `fault: {"title":`},
		{callReply{499, "", ""}, "fault: answered 499"},
		{callReply{400, "", strings.Repeat("é", callMaxAnswer)}, "fault: " + strings.Repeat("é", partMaxReason/2)},
		{callReply{408, "", "no"}, "too late"},
		{callReply{425, "", "no"}, "no answer"},
		{callReply{429, "", "no"}, "no answer"},
		{callReply{500, "", `{"vote":"vote_abort"}`}, "no answer"},
		{callReply{503, "", "no"}, "no answer"},
		{callReply{504, "", "no"}, "too late"},
		{callReply{599, "", "no"}, "no answer"},
	} {
		t.Run(fmt.Sprintf("%d %.30q", tt.reply.status, tt.reply.body), func(t *testing.T) {
			p := callServe(t, tt.reply.serve, nil)
			if got := callKind(p.Prepare(t.Context(), callBranch())); got != tt.want {
				t.Errorf("understood as %.100q, want %.100q", got, tt.want)
			}
		})
	}
}

func TestCallerUnderstandsCommitAndRollback(t *testing.T) {
	const done = "vote_abort" // no error, that is
	for _, tt := range []struct {
		reply            callReply
		commit, rollback string
	}{
		{callReply{200, "", "{}"}, done, done},
		{callReply{200, "", "<html>"}, done, done},
		{callReply{201, "", ""}, done, done},
		{callReply{204, "", ""}, done, done},
		{callReply{299, "", "odd"}, done, done},
		{callReply{409, "", `{"state":"committed","more":1}`}, done, "finished: committed"},
		{callReply{409, "", `{"state":"rolled_back"}`}, "finished: rolled_back", done},
		{callReply{409, "", `{"state":"prepared"}`}, "error", "error"},
		{callReply{409, "", `{"State":"rolled_back"}`}, "error", "error"},
		{callReply{409, "", `rolled_back`}, "error", "error"},
		{callReply{409, "", ``}, "error", "error"},
		{callReply{409, "", `{"state":"committed"}` + strings.Repeat(" ", callMaxAnswer)}, "error", "error"},
		{callReply{404, "", "404 page not found"}, "unknown branch", "unknown branch"},
		{callReply{410, "", ""}, "unknown branch", "unknown branch"},
		{callReply{302, "", ""}, "error", "error"},
		{callReply{400, "", ""}, "error", "error"},
		{callReply{401, "", ""}, "error", "error"},
		{callReply{405, "", ""}, "error", "error"},
		{callReply{500, "", ""}, "error", "error"},
		{callReply{501, "", ""}, "error", "error"},
		{callReply{408, "", ""}, "too late", "too late"},
		{callReply{425, "", ""}, "no answer", "no answer"},
		{callReply{429, "", ""}, "no answer", "no answer"},
		{callReply{502, "", ""}, "no answer", "no answer"},
		{callReply{503, "", ""}, "no answer", "no answer"},
		{callReply{504, "", ""}, "too late", "too late"},
	} {
		t.Run(fmt.Sprintf("%d %.30q", tt.reply.status, tt.reply.body), func(t *testing.T) {
			p := callServe(t, tt.reply.serve, nil)
			if got := callKind(0, p.Commit(t.Context(), callBranch())); got != tt.commit {
				t.Errorf("commit understood as %q, want %q", got, tt.commit)
			}
			if got := callKind(0, p.Rollback(t.Context(), callBranch())); got != tt.rollback {
				t.Errorf("rollback understood as %q, want %q", got, tt.rollback)
			}
		})
	}
}

// TestCallerSends: what stands in the contract is what is on the wire, byte by
// byte where that matters.
func TestCallerSends(t *testing.T) {
	var got *http.Request
	var body string
	p := callServe(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		_, _ = io.WriteString(w, `{"vote":"read_only"}`)
	}, &ParticipantOptions{Bearer: func() (string, error) { return " secret\n", nil }})
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := WithTraceparent(t.Context(), trace)

	finish := `{"tx_id":"order-1","xid":"` + callXID.String() + `","branch":"stock","attempt":3,"low_water":"` + callSeq(17).String() + `"}`
	prepare := finish[:len(finish)-1] + `,"deadline":"2026-03-04T04:06:07.008Z","payload":{"n": 1.50, "s":"<&>"}}`
	for _, tt := range []struct {
		verb, body string
		call       func() error
	}{
		{"prepare", prepare, func() error { _, err := p.Prepare(ctx, callBranch()); return err }},
		{"commit", finish, func() error { return p.Commit(ctx, callBranch()) }},
		{"rollback", finish, func() error { return p.Rollback(ctx, callBranch()) }},
	} {
		if err := tt.call(); err != nil {
			t.Fatal(err)
		}
		if body != tt.body {
			t.Errorf("%s sent\n%s\nwant\n%s", tt.verb, body, tt.body)
		}
		if got.Method != http.MethodPost || got.URL.Path != "/base/"+tt.verb || got.URL.RawQuery != "" {
			t.Errorf("%s: called %s %s", tt.verb, got.Method, got.URL)
		}
		for name, want := range map[string]string{
			"Idempotency-Key": callXID.String() + "/stock/" + tt.verb, "Traceparent": trace,
			"Authorization": "Bearer secret", "Content-Type": "application/json", "User-Agent": callUserAgent(),
		} {
			if got.Header.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", tt.verb, name, got.Header.Get(name), want)
			}
		}
	}
	if agent := callUserAgent(); !strings.HasPrefix(agent, "dtc/") || len(agent) < 5 || strings.Contains(agent, " ") {
		t.Errorf("User-Agent is %q", agent)
	}

	// An orphan has no transaction id, and what is not known is null.
	b := dtc.Branch{Participant: "stock", XID: callXID, Attempt: 1}
	if err := p.Rollback(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	want := `{"tx_id":"","xid":"` + callXID.String() + `","branch":"stock","attempt":1,"low_water":null}`
	if body != want || got.Header.Get("Traceparent") != "" {
		t.Errorf("rollback of an orphan sent %s with trace %q, want %s", body, got.Header.Get("Traceparent"), want)
	}
	if _, err := p.Prepare(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if want = want[:len(want)-1] + `,"deadline":null,"payload":null}`; body != want {
		t.Errorf("prepare without payload sent %s, want %s", body, want)
	}
}

func TestCallerSendsJSONOnly(t *testing.T) {
	called := false
	p := callServe(t, func(http.ResponseWriter, *http.Request) { called = true }, nil)
	for _, payload := range []string{"plain", `{"a":1}{"b":2}`, "\"\xff\"", `"` + strings.Repeat("x", dtc.MaxPayload) + `"`} {
		b := callBranch()
		b.Payload = []byte(payload)
		if got := callKind(p.Prepare(t.Context(), b)); !strings.HasPrefix(got, "refused: the payload ") || called {
			t.Errorf("payload %.20q: %s, called: %v; want it refused and nothing sent", payload, got, called)
		}
	}
}

// TestCallerFollowsNoRedirect: a redirect names another place than the one that
// was configured, and would get the credentials.
func TestCallerFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		calls := 0
		p := callServe(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			http.Redirect(w, r, "/base/other", status)
		}, nil)
		if got := callKind(p.Prepare(t.Context(), callBranch())); got != "no answer" || calls != 1 {
			t.Errorf("%d to prepare: %s after %d calls, want no answer after one", status, got, calls)
		}
		if got := callKind(0, p.Commit(t.Context(), callBranch())); got != "error" || calls != 2 {
			t.Errorf("%d to commit: %s after %d calls, want an error after one", status, got, calls-1)
		}
	}
}

func TestCallerIsConfigured(t *testing.T) {
	token := func() (string, error) { return "t", nil }
	for _, tt := range []struct {
		id, url string
		opts    *ParticipantOptions
	}{
		{"", "http://h", nil},
		{"a b", "http://h", nil},
		{"a", "", nil},
		{"a", "h:80/x", nil},
		{"a", "ftp://user:pa55@h/", nil},
		{"a", "http://", nil},
		{"a", "http://:80/", nil},
		{"a", "http://user:pa55@h:port/", nil},
		{"a", "http://user:pa55%@h/", nil},
		{"a", "http://h/?key=pa55", nil},
		{"a", "http://h/?", nil},
		{"a", "http://h/#pa55", nil},
		{"a", "http://user:pa55@h/", &ParticipantOptions{Bearer: token}},
		{"a", "http://h/", &ParticipantOptions{MaxIdleConns: -1}},
	} {
		p, err := NewParticipant(tt.id, tt.url, tt.opts)
		if !errors.Is(err, dtc.ErrBadRequest) || p != nil {
			t.Errorf("%q at %q: %v; want a bad request", tt.id, tt.url, err)
		} else if strings.Contains(err.Error(), "pa55") {
			t.Errorf("%q: the error shows a secret: %v", tt.url, err)
		}
	}
}

// TestCallerHidesCredentials: nothing that is printed or returned shows them.
func TestCallerHidesCredentials(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "pa55:w" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	p := callParticipant(t, "stock", strings.Replace(s.URL, "://", "://me:pa55%3Aw@", 1)+"/base", nil)
	if err := p.Commit(t.Context(), callBranch()); err != nil {
		t.Fatalf("the credentials did not arrive: %v", err)
	}
	s.Close()
	texts := []string{p.URL(), p.String(), fmt.Sprintf("%v %+v %#v", p, p, p), p.Commit(t.Context(), callBranch()).Error()}
	_, err := p.Prepare(t.Context(), callBranch())
	_, err2 := p.InDoubt(t.Context(), callLog)
	for _, text := range append(texts, err.Error(), err2.Error(), p.Probe(t.Context()).Error()) {
		if strings.Contains(text, "pa55") || strings.Contains(text, "log=") || strings.Contains(text, "cGE1NTp3") {
			t.Errorf("shows what it must not: %s", text)
		}
	}

	for _, bearer := range []func() (string, error){
		func() (string, error) { return "pa55\nX-Other: y", nil },
		func() (string, error) { return "", nil },
		func() (string, error) { return "pa55", errors.New("no such file") },
	} {
		p := callServe(t, callReply{status: 204}.serve, &ParticipantOptions{Bearer: bearer})
		err := p.Commit(t.Context(), callBranch())
		if !errors.Is(err, dtc.ErrNoAnswer) || strings.Contains(err.Error(), "pa55") {
			t.Errorf("a bad token: %v; want no answer that does not show it", err)
		}
	}
}

func TestTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for s, want := range map[string]string{
		good: good, "01" + good[2:] + "-more": "01" + good[2:] + "-more",
		"": "", "00": "", strings.ToUpper(good): "", good + "x": "", good + "-a\r\nb": "", "ff" + good[2:]: "",
		strings.Replace(good, "-", "_", 1): "", good + "-" + strings.Repeat("x", 256): "",
	} {
		if got := Traceparent(WithTraceparent(t.Context(), s)); got != want {
			t.Errorf("WithTraceparent(%q) hands on %q, want %q", s, got, want)
		}
	}
}
