package lossy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Each fault does what it says, seen from both ends.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		fault     Fault
		delivered int64
		answered  bool
	}{
		{Faithful, 1, true},
		{Delay, 1, true},
		{Drop, 0, false},
		{Silent, 0, false},
		{CutRequest, 0, false},
		{CutReply, 1, false},
		{LateReply, 1, false},
		{Duplicate, 2, true},
		{Repeat, 2, true},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			var whole atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				if string(body) != "hello" || r.URL.RequestURI() != "/a/b?c=d" || r.Header.Get("X-Test") != "yes" {
					t.Errorf("delivered: %q at %s with %v", body, r.URL.RequestURI(), r.Header)
				}
				whole.Add(1)
				w.Header().Set("X-Answer", "yes")
				w.WriteHeader(http.StatusAccepted)
				_, _ = io.WriteString(w, "good day")
			}))
			defer server.Close()
			p, err := New(Options{Seed: 1, Rates: map[Fault]float64{c.fault: 1}, MaxDelay: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.Target(server.Listener.Addr().String())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.fault == Silent || c.fault == LateReply {
				// The sender gives up when the proxy has it, or the server has.
				go func() {
					for p.Counts().By[c.fault] == 0 || whole.Load() < c.delivered {
						time.Sleep(time.Millisecond)
					}
					cancel()
				}()
			}
			text, err := call(ctx, p.URL())
			if (err == nil) != c.answered || err == nil && text != "202 yes good day" {
				t.Errorf("answered %q, %v", text, err)
			}
			until(t, func() bool { return whole.Load() >= c.delivered })
			if got := p.Counts().By[c.fault]; got != 1 {
				t.Errorf("counted %d times", got)
			}
			p.Heal()
			if text, err := call(t.Context(), p.URL()); err != nil || text != "202 yes good day" {
				t.Errorf("healed, and answered %q, %v", text, err)
			}
			if got := whole.Load(); got != c.delivered+1 {
				t.Errorf("delivered %d times, want %d", got, c.delivered+1)
			}
		})
	}
}

func TestCut(t *testing.T) {
	reached := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or nobody looks whether the sender is still there
		close(reached)
		<-r.Context().Done()
	}))
	defer server.Close()
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Target(server.Listener.Addr().String())
	go func() {
		<-reached
		p.Cut()
	}()
	if text, err := call(t.Context(), p.URL()); err == nil {
		t.Errorf("answered %q over a connection that was cut", text)
	}
	if p.Counts().Cut != 1 {
		t.Error("not counted")
	}
	p.Close() // ends the request that the server still has
}

func call(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/a/b?c=d", strings.NewReader("hello"))
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Test", "yes")
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Answer"), " ", string(body)), err
}

func until(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
