package dtchttp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
)

// counted is a server that counts requests and connections.
type counted struct {
	*httptest.Server
	requests, conns atomic.Int64
}

func serveCounted(t *testing.T, h http.Handler) *counted {
	c := new(counted)
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/in-doubt") { // the sweep's
			c.requests.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.conns.Add(1)
		}
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

// TestCallsPerTransaction: a committed transaction costs one request of its client and
// two for each branch, and they reuse their connections.
func TestCallsPerTransaction(t *testing.T) {
	const callers, each = 8, 50
	patient := dtc.Timing{PrepareTimeout: time.Minute, PrepareAttempt: time.Minute, FinishAttempt: time.Minute}
	cfg := &dtc.Config{Logger: slog.New(slog.DiscardHandler), Timing: patient, CompletionWait: time.Minute}
	var services []*counted
	for _, id := range []string{"inventory", "payment"} {
		s := serveCounted(t, dtchttp.NewParticipantHandler(dtctest.NewMemory(id), nil))
		p, err := dtchttp.NewParticipant(id, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		if err := p.Probe(t.Context()); err != nil || !p.Listing() {
			t.Fatal(err)
		}
		services = append(services, s)
		cfg.Participants = append(cfg.Participants, p)
	}
	c, err := dtc.Open(t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	control := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: cfg.Logger})
	control.Use(c)
	front := serveCounted(t, control)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	var wg sync.WaitGroup
	for w := range callers {
		wg.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"id":"order-%d-%d",%s}`, w, i, order)
				resp, err := client.Post(front.URL+"/v1/transactions", "application/json", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				if resp.StatusCode != http.StatusOK {
					t.Error(resp.Status)
				}
				var text [64 << 10]byte
				for err == nil {
					_, err = resp.Body.Read(text[:])
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if err := control.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil { // after phase two, or else it is cut off
		t.Error(err)
	}
	const n = callers * each
	if got := front.requests.Load(); got != n {
		t.Errorf("%d transactions took %d requests of the clients", n, got)
	}
	for i, s := range services {
		if got := s.requests.Load(); got != 2*n {
			t.Errorf("%d transactions took %d calls of participant %d, want two each", n, got, i)
		}
		if got := s.conns.Load(); got > 2*callers+2 {
			t.Errorf("participant %d got %d connections from %d callers", i, got, callers)
		}
	}
	if got := front.conns.Load(); got > 2*callers {
		t.Errorf("the server got %d connections from %d clients", got, callers)
	}
}
