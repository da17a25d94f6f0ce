package dtchttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// fault is what a server in front of the coordinator does to a request: it hands it on
// or does not, and spoils the answer.
type fault struct {
	name  string
	spoil func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// swallow lets the coordinator do what is asked, and keeps its answer.
func swallow(next http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	return rec
}

func breakOff() { panic(http.ErrAbortHandler) }

func reply(w http.ResponseWriter, status int, media, body string) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// faults leave it open whether the coordinator did what was asked.
var faults = []fault{
	{"broken off before it was handed on", func(http.ResponseWriter, *http.Request, http.Handler) { breakOff() }},
	{"broken off afterwards", func(_ http.ResponseWriter, r *http.Request, next http.Handler) { swallow(next, r); breakOff() }},
	{"cut", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body := swallow(next, r).Body.String()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.WriteString(w, body[:len(body)/2])
		breakOff()
	}},
	{"cut in chunks", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body := swallow(next, r).Body.String()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		breakOff()
	}},
	{"garbage", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r)
		reply(w, 200, "application/json", `{"outcome":"rolled_back"`)
	}},
	{"a page of a proxy", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		reply(w, 200, "text/html", "<h1>Log in</h1>")
	}},
	{"nothing", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(204) }},
	{"another transaction", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		text := strings.Replace(swallow(next, r).Body.String(), `{"id":"`, `{"id":"x`, 1)
		reply(w, 200, "application/json", strings.Replace(text, `"branch":"`, `"branch":"x`, 1))
	}},
	{"a contradiction", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		text := swallow(next, r).Body.String()
		reply(w, 200, "application/json", strings.NewReplacer(`"committed":true`, `"committed":false`, `"committed":false`, `"committed":true`).Replace(text))
	}},
	{"two outcomes", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		reply(w, 200, "application/json", strings.Replace(swallow(next, r).Body.String(), `{`, `{"outcome":"rolled_back",`, 1))
	}},
	{"no outcome", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r)
		reply(w, 200, "application/json", `{"id":"tx","xid":"`+lostXID+`","state":"preparing","outcome":null,"committed":null,"branches":[]}`)
	}},
	{"500", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reply(w, 500, "text/plain", "oh") }},
	{"502", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r)
		reply(w, 502, "text/html", "bad gateway")
	}},
	{"503 of a proxy", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		reply(w, 503, "text/html", "no upstream")
	}},
	{"504", func(w http.ResponseWriter, r *http.Request, next http.Handler) { swallow(next, r); w.WriteHeader(504) }},
	{"408", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(408) }},
	{"outcome_unknown", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r)
		reply(w, 503, "application/problem+json", `{"status":503,"code":"outcome_unknown"}`)
	}},
	{"endless", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r)
		w.Header().Set("Content-Type", "application/json")
		pour(w)
	}},
	{"a gibibyte announced", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(1<<30))
		pour(w)
	}},
	{"no answer in time", func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		swallow(next, r.WithContext(context.WithoutCancel(r.Context())))
		<-r.Context().Done() // the client has given it up
	}},
}

const lostXID = "dtc.aaaaaaaaaaaaaaaa.1-00000001.1"

// pour writes until nobody listens, a gibibyte at most.
func pour(w io.Writer) {
	space := []byte(strings.Repeat(" ", 1<<20))
	for range 1 << 10 {
		if _, err := w.Write(space); err != nil {
			return
		}
	}
}

// spoiled serves a coordinator of which the first answers are spoiled.
func spoiled(t *testing.T, a *api, f fault, first int64) (c *dtchttp.Client, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) <= first {
			f.spoil(w, r, a.h)
			return
		}
		a.h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o := &dtchttp.ClientOptions{}
	if f.name == "no answer in time" {
		o.AttemptTimeout = 100 * time.Millisecond
	}
	return newClient(t, s.URL, o), requests
}

// TestClientLostAnswer: whatever happens to the first answer, the second says what
// became of the transaction, which ran once.
func TestClientLostAnswer(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
			var prepares atomic.Int64
			a.members[1].OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
				prepares.Add(1)
				if b.TxID == "no" {
					return dtc.VoteAbort, errors.New("no money")
				}
				return dtc.VoteCommit, nil
			}
			c, requests := spoiled(t, a, f, 1)
			if ok, err := c.Execute(t.Context(), "tx", branch("payment", "1")); !ok || err != nil {
				t.Errorf("%v, %v; want it committed", ok, err)
			}
			if n := prepares.Load(); n != 1 {
				t.Errorf("payment was asked to prepare %d times", n)
			}
			if n := requests.Load(); f.name != "no answer in time" && n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
			c, _ = spoiled(t, a, f, 1)
			if ok, err := c.Execute(t.Context(), "no", branch("payment", "1")); ok || !errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("%v, %v; want it rolled back", ok, err)
			}
		})
	}
}

// TestClientLostInSteps: every step of a transaction that grows stands a lost answer.
func TestClientLostInSteps(t *testing.T) {
	for _, f := range faults {
		if f.name == "no outcome" {
			continue // not every step tells one
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
			var counts []*atomic.Int64
			lossy := func() *dtchttp.Client {
				c, requests := spoiled(t, a, f, 1)
				counts = append(counts, requests)
				return c
			}
			ctx := t.Context()
			if doc, _, err := lossy().Begin(ctx, "tx", nil); err != nil || doc.State != "active" {
				t.Fatalf("begin: %+v, %v", doc, err)
			}
			if _, _, err := lossy().Enlist(ctx, "tx", branch("orders", "1")); err != nil {
				t.Fatalf("enlist: %v", err)
			}
			if doc, err := lossy().Commit(ctx, "tx", nil); err != nil || *doc.Outcome != "committed" {
				t.Errorf("commit: %+v, %v", doc, err)
			}
			err := lossy().Run(ctx, "", func(ctx context.Context, tx *dtchttp.ClientTx) error { return tx.Enlist(ctx, "orders", nil) })
			if err != nil {
				t.Errorf("run: %v", err)
			}
			for i, n := range counts[:3] { // none took the spoiled answer for one
				if n.Load() < 2 && f.name != "a contradiction" && f.name != "two outcomes" { // where there is no outcome yet
					t.Errorf("step %d took %d requests", i+1, n.Load())
				}
			}
		})
	}
}

// TestClientEndsInDoubt: a client whose context ends after it may have been heard does
// not know, and says so.
func TestClientEndsInDoubt(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
			c, requests := spoiled(t, a, f, 1<<60)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for requests.Load() < 2 && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			defer cancel()
			ok, err := c.Execute(ctx, "tx", branch("orders", ""))
			if ok || !errors.Is(err, dtc.ErrInDoubt) || !errors.Is(err, context.Canceled) || errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("%v, %v; want it in doubt", ok, err)
			}
			if err != nil && !strings.Contains(err.Error(), "tx") {
				t.Errorf("%v does not name the transaction", err)
			}
		})
	}
}

// TestClientRefused: what was not begun is told at once, with what it means; and after
// an answer that was lost the same words prove nothing.
func TestClientRefused(t *testing.T) {
	for _, tt := range []struct {
		status     int
		media      string
		body       string
		want       error
		afterwards error // what it is once an answer was lost; nil: the same
	}{
		{400, "application/problem+json", `{"code":"bad_request","detail":"no"}`, dtc.ErrBadRequest, dtc.ErrInDoubt},
		{401, "application/problem+json", `{"code":"unauthorized"}`, nil, dtc.ErrInDoubt},
		{403, "application/problem+json", `{"code":"forbidden"}`, nil, dtc.ErrInDoubt},
		{404, "application/problem+json", `{"code":"unknown_transaction"}`, dtc.ErrUnknownTx, dtc.ErrInDoubt},
		{404, "text/html", `nginx`, nil, dtc.ErrInDoubt},
		{409, "application/problem+json", `{"code":"tx_conflict"}`, dtc.ErrTxConflict, nil},
		{413, "text/html", `too large`, nil, dtc.ErrInDoubt},
		{302, "text/html", ``, nil, dtc.ErrInDoubt},
		{429, "application/problem+json", `{"code":"full"}`, dtc.ErrFull, dtc.ErrInDoubt},
		{503, "application/problem+json", `{"code":"full"}`, dtc.ErrFull, dtc.ErrInDoubt},
		{503, "application/problem+json", `{"code":"draining"}`, dtc.ErrClosed, dtc.ErrInDoubt},
		{503, "application/problem+json", `{"code":"not_ready"}`, dtc.ErrClosed, dtc.ErrInDoubt},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			var lose atomic.Bool
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := requests.Add(1)
				switch {
				case lose.Load() && n == 1:
					breakOff()
				case n == 4:
					cancel()
				}
				w.Header().Set("Location", "/elsewhere")
				reply(w, tt.status, tt.media, tt.body)
			}))
			defer s.Close()
			c := newClient(t, s.URL, nil)
			_, err := c.Execute(ctx, "tx", branch("orders", ""))
			var p *dtchttp.Problem
			if !errors.As(err, &p) || p.Status != tt.status || tt.want != nil && !errors.Is(err, tt.want) || errors.Is(err, dtc.ErrInDoubt) {
				t.Errorf("%v; want %v", err, tt.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests for one refusal", n)
			}
			lose.Store(true)
			requests.Store(0)
			_, err = c.Execute(ctx, "tx", branch("orders", ""))
			if want := tt.afterwards; want != nil && !errors.Is(err, want) || want == nil && (!errors.Is(err, tt.want) || errors.Is(err, dtc.ErrInDoubt)) || errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("after a lost answer: %v; want %v", err, want)
			}
		})
	}
}

// TestClientWaits: with RetryRefused a client waits for a coordinator that comes.
func TestClientWaits(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody listens there for a while
	c := newClient(t, "http://"+address, &dtchttp.ClientOptions{RetryRefused: true})
	plain := newClient(t, "http://"+address, nil)
	_, err = plain.Execute(t.Context(), "tx", branch("orders", ""))
	var op *net.OpError
	if !errors.As(err, &op) || errors.Is(err, dtc.ErrInDoubt) || !strings.Contains(err.Error(), "nothing was begun") {
		t.Errorf("nobody there: %v", err)
	}
	ended, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Execute(ended, "tx", branch("orders", "")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, dtc.ErrInDoubt) {
		t.Errorf("nobody came in time: %v", err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := c.Execute(t.Context(), "tx", branch("orders", ""))
		result <- err
	}()
	dtchttpUntil(t, func() bool { // somebody may have the port for a moment
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	var requests atomic.Int64
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 1:
			reply(w, 503, "application/problem+json", `{"code":"not_ready"}`)
		case 2:
			reply(w, 429, "application/problem+json", `{"code":"full"}`)
		default:
			a.h.ServeHTTP(w, r)
		}
	})}}
	s.Start()
	defer s.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestClientHeaders: what goes with each request, and that connections are used again.
func TestClientHeaders(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	s := serveCounted(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]string{"Authorization": "Bearer s3cret", "Traceparent": trace, "Idempotency-Key": ""} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if agent := r.Header.Get("User-Agent"); !strings.HasPrefix(agent, "dtc/") {
			t.Errorf("User-Agent is %q", agent)
		}
		http.StripPrefix("/prefix", a.h).ServeHTTP(w, r)
	}))
	c := newClient(t, s.URL+"/prefix/", &dtchttp.ClientOptions{Bearer: func() (string, error) { return "s3cret\n", nil }})
	ctx := dtchttp.WithTraceparent(t.Context(), trace)
	for range 20 {
		if ok, err := c.Execute(ctx, "", branch("orders", "")); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections for one caller", n)
	}
	failed := newClient(t, s.URL, &dtchttp.ClientOptions{Bearer: func() (string, error) { return "s3cret", errors.New("no file") }})
	if _, err := failed.Execute(ctx, "", branch("orders", "")); err == nil || errors.Is(err, dtc.ErrInDoubt) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("without a token: %v", err)
	}
	for _, url := range []string{"", "ftp://h", "http://", "http://u:pa55@h?x", "http://h#f", "http://u:pa55@h:x"} {
		if c, err := dtchttp.NewClient(url, nil); !errors.Is(err, dtc.ErrBadRequest) || c != nil || strings.Contains(err.Error(), "pa55") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, o := range []dtchttp.ClientOptions{{MaxIdleConns: -1}, {AttemptTimeout: -1}} {
		if _, err := dtchttp.NewClient("http://h", &o); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if c := newClient(t, "http://me:pa55@h/", nil); strings.Contains(fmt.Sprintf("%v %+v %#v %s", c, c, c, c.URL()), "pa55") {
		t.Error("it shows its password")
	}
}

// TestClientPaths: an id stands in a path as it is, also through what cleans paths; and
// what is too long does not leave.
func TestClientPaths(t *testing.T) {
	var paths []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.RequestURI)
		reply(w, 404, "application/problem+json", `{"code":"unknown_transaction"}`)
	}))
	defer s.Close()
	c := newClient(t, s.URL+"/a%2Fb/", nil)
	for _, tt := range []struct {
		id   dtc.TxID
		want string
	}{
		{"..", "/a%2Fb/v1/transactions/%2E%2E/commit"},
		{".", "/a%2Fb/v1/transactions/%2E/commit"},
		{"a/../b?c#d%e", "/a%2Fb/v1/transactions/a%2F..%2Fb%3Fc%23d%25e/commit"},
	} {
		paths = nil
		_, err := c.Commit(t.Context(), tt.id, nil)
		if !errors.Is(err, dtc.ErrUnknownTx) || len(paths) != 1 || paths[0] != tt.want {
			t.Errorf("%q: asked %q, want %q: %v", tt.id, paths, tt.want, err)
		}
	}
	paths = nil
	var many []dtc.Branch
	for i := range 5 {
		many = append(many, branch(fmt.Sprint(i), `"`+strings.Repeat("x", 250<<10)+`"`))
	}
	if _, err := c.Execute(t.Context(), "x", many...); !errors.Is(err, dtc.ErrBadRequest) || len(paths) != 0 {
		t.Errorf("a request that is too long: %v, sent to %q", err, paths)
	}
}

// TestClientRunsNothing: a function that enlists nobody has nothing to commit.
func TestClientRunsNothing(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	err := newClient(t, a.URL, nil).Run(t.Context(), "", func(context.Context, *dtchttp.ClientTx) error { return nil })
	if !errors.Is(err, dtc.ErrRolledBack) || !errors.Is(err, dtc.ErrBadRequest) {
		t.Errorf("%v; want it rolled back, because the request is a bad one", err)
	}
}

// TestClientEndlessList: a server that names the same page again and again.
func TestClientEndlessList(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, "application/json", `{"participants":[{"id":"a"}],"next":"a"}`)
	}))
	defer s.Close()
	n := 0
	var last error
	for _, err := range newClient(t, s.URL, nil).Participants(t.Context()) {
		n, last = n+1, err
	}
	if n != 2 || last == nil {
		t.Errorf("%d items, the last error is %v", n, last)
	}
}

// TestClientRawAnswers: bytes that are no HTTP at all.
func TestClientRawAnswers(t *testing.T) {
	for _, text := range []string{"", "\x00\x01\x02", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n{}"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; ; n++ {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if n == 2 {
					cancel()
				}
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}
		}()
		c := newClient(t, "http://"+l.Addr().String(), nil)
		if _, err := c.Execute(ctx, "tx", branch("orders", "")); !errors.Is(err, dtc.ErrInDoubt) {
			t.Errorf("%q: %v", text, err)
		}
		cancel()
		_ = c.Close() // a connection that was dialled for nobody
		_ = l.Close()
		<-done
	}
}
