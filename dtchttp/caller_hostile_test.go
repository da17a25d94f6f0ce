package dtchttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// callTalk serves connections with a function that may say anything.
func callTalk(t *testing.T, talk func(conn net.Conn, request *bufio.Reader)) *Participant {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				talk(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return callParticipant(t, "stock", "http://"+l.Addr().String(), nil)
}

// callHear reads a request to its end.
func callHear(request *bufio.Reader) {
	if r, err := http.ReadRequest(request); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// callUntilGone waits until the other side has closed.
func callUntilGone(request *bufio.Reader) { _, _ = io.Copy(io.Discard, request) }

// TestCallerSurvives: whatever a service says, an answer that is not one is no
// vote, a status that is one counts, and every call ends.
func TestCallerSurvives(t *testing.T) {
	const done = "vote_abort" // no error, that is
	ok := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	endless := func(conn net.Conn, head, text string) {
		text = strings.Repeat(text, 100)
		for _, err := io.WriteString(conn, head); err == nil; {
			_, err = io.WriteString(conn, text)
		}
	}
	for _, tt := range []struct {
		name            string
		talk            func(conn net.Conn, request *bufio.Reader)
		prepare, commit string
		slow            bool // only the context ends it
	}{
		{"closed at once", func(net.Conn, *bufio.Reader) {}, "no answer", "no answer", false},
		{"closed after the request", func(_ net.Conn, r *bufio.Reader) { callHear(r) }, "no answer", "no answer", false},
		{"closed within the status", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, "HTTP/1.1 20")
		}, "no answer", "no answer", false},
		{"closed within the body", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, ok+"Content-Length: 100\r\n\r\n"+`{"vote":"vote_commit"}`)
		}, "no answer", done, false},
		{"closed within a chunk", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n16\r\n"+`{"vote":"vote_commit"}`+"\r\n")
		}, "no answer", done, false},
		{"endless body", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			endless(c, ok+"\r\n"+`{"vote":"vote_commit"}`, "          ")
		}, "no answer", done, false},
		{"endless refusal", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			endless(c, "HTTP/1.1 404 Not Found\r\n\r\nno such place\n", "          ")
		}, "fault: no such place", "unknown branch", false},
		{"endless conflict", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			endless(c, "HTTP/1.1 409 Conflict\r\n\r\n"+`{"state":"rolled_back"}`, "\n\n\n\n\n\n")
		}, `fault: {"state":"rolled_back"}`, "error", false},
		{"endless header", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			endless(c, ok, "X-More: yes\r\n")
		}, "no answer", "no answer", false},
		{"endless informational answers", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			endless(c, "", "HTTP/1.1 103 Early Hints\r\n\r\n")
		}, "no answer", "no answer", false},
		{"another protocol", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			callUntilGone(r)
		}, "no answer", "error", false},
		{"not HTTP", func(c net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, "no answer", "no answer", false},
		{"compressed", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, ok+"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")
		}, "no answer", done, false},

		{"never answers", func(_ net.Conn, r *bufio.Reader) { callUntilGone(r) }, "too late", "too late", true},
		{"slow vote", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, ok+"Content-Length: 100\r\n\r\n"+`{"vote":`)
			callUntilGone(r)
		}, "too late", done, true},
		{"slow refusal", func(c net.Conn, r *bufio.Reader) {
			callHear(r)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nnot so")
			callUntilGone(r)
		}, "fault: not so", "error", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := callTalk(t, tt.talk)
			limit := 20 * time.Second
			if tt.slow {
				limit = time.Second
			}
			call := func(f func(ctx context.Context) (dtc.Vote, error)) string {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				got := callKind(f(ctx))
				if !tt.slow && ctx.Err() != nil {
					t.Error("only the context ended it")
				}
				return got
			}
			if got := call(func(ctx context.Context) (dtc.Vote, error) { return p.Prepare(ctx, callBranch()) }); got != tt.prepare {
				t.Errorf("prepare understood as %q, want %q", got, tt.prepare)
			}
			if got := call(func(ctx context.Context) (dtc.Vote, error) { return 0, p.Commit(ctx, callBranch()) }); got != tt.commit {
				t.Errorf("commit understood as %q, want %q", got, tt.commit)
			}
			if got := call(func(ctx context.Context) (dtc.Vote, error) {
				_, err := p.InDoubt(ctx, callLog)
				return 0, err
			}); got == done || p.listing.Load() {
				t.Errorf("in-doubt understood as %q", got)
			}
		})
	}
}

// TestCallerWithoutAServer: nobody listens.
func TestCallerWithoutAServer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	p := callParticipant(t, "stock", s.URL, nil)
	if got := callKind(p.Prepare(t.Context(), callBranch())); got != "no answer" {
		t.Errorf("prepare: %s", got)
	}
	if got := callKind(0, p.Rollback(t.Context(), callBranch())); got != "no answer" {
		t.Errorf("rollback: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Prepare(ctx, callBranch()); !errors.Is(err, dtc.ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCallerOverTLS: with the settings it was given, and never with a server that
// cannot prove who it is.
func TestCallerOverTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.StripPrefix("/p", NewParticipantHandler(dtctest.NewMemory("stock"), nil)))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig
	p := callParticipant(t, "stock", s.URL+"/p", &ParticipantOptions{TLS: roots})
	if got := callKind(p.Prepare(t.Context(), callBranch())); got != "vote_commit" {
		t.Errorf("prepare: %s", got)
	}
	p = callParticipant(t, "stock", s.URL+"/p", nil)
	if got := callKind(p.Prepare(t.Context(), callBranch())); got != "no answer" {
		t.Errorf("an unknown authority: %s", got)
	}
}

// TestCallerLeavesNothingBehind: no goroutine outlives Close, whatever the service
// did, and no call, however it ended.
func TestCallerLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("calls", func(t *testing.T) {
		hang := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/prepare":
				for n := 0; n < 1000; n++ {
					if _, err := w.Write(make([]byte, 1000)); err != nil {
						return
					}
				}
			case "/commit", "/in-doubt":
				<-hang
			}
		}))
		p, err := NewParticipant("stock", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Listing()
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, _ = p.Prepare(ctx, callBranch())
			_ = p.Commit(ctx, callBranch())
			_ = p.Rollback(ctx, callBranch())
			cancel()
		}
		_ = p.Close()
		close(hang)
		s.Close()
	})
	for deadline := time.Now().Add(3 * time.Minute); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			text := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, text[:runtime.Stack(text, true)])
		}
	}
}
