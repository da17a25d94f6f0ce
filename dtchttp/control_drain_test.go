package dtchttp_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// refused checks that a call is refused and can be repeated later.
func (a *api) refused(method, path, body string, status int, code string) {
	a.t.Helper()
	got, h, answer := a.full(method, path, body)
	if got != status || answer["code"] != code || h.Get("Retry-After") != "1" {
		a.t.Errorf("%s %s: %d %v, Retry-After %q, want %d %s", method, path, got, answer, h.Get("Retry-After"), status, code)
	}
}

// TestControlReady: /livez and /readyz in every state.
func TestControlReady(t *testing.T) {
	const good = "[+] replay: ok\n[+] log: ok\n[+] drain: ok\n"
	a := &api{t: t, log: new(lockedBuffer), h: dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: slog.New(slog.DiscardHandler)})}
	replaying := "not ready: replaying: the log is being read\n"
	a.wantText("/livez", 200, "ok\n")
	a.wantText("/readyz", 503, replaying)
	a.wantText("/readyz?verbose", 503, "[-] replay: replaying: the log is being read\n[+] log: ok\n[+] drain: ok\n"+replaying)
	for _, call := range [][2]string{
		{"POST", "/v1/transactions"},
		{"GET", "/v1/transactions"},
		{"POST", "/v1/transactions/begin"},
		{"GET", "/v1/transactions/t"},
		{"POST", "/v1/transactions/t/branches"},
		{"POST", "/v1/transactions/t/commit"},
		{"POST", "/v1/transactions/t/rollback"},
		{"POST", "/v1/transactions/t/retry"},
		{"POST", "/v1/transactions/t/branches/b/resolve"},
		{"GET", "/v1/branches/x/p"},
		{"GET", "/v1/participants"},
	} {
		a.refused(call[0], call[1], "", 503, "not_ready")
	}

	disk := vfs.NewMem()
	a = newDirect(t, disk, dtc.Config{}, dtchttp.ControlOptions{})
	a.wantText("/livez", 200, "ok\n")
	a.wantText("/readyz", 200, "ok\n")
	a.wantText("/readyz?verbose", 200, good+"ok\n")
	a.wantText("/readyz?verbose=", 200, good+"ok\n")
	if err := a.c.Hold(t.Context(), "the volume was\nrestored"); err != nil {
		t.Fatal(err)
	}
	a.wantText("/readyz?verbose", 200, good+"[!] hold: nothing of earlier runs is presumed: the volume was\nok\n")
	if err := a.c.Release(t.Context(), "it was compared"); err != nil {
		t.Fatal(err)
	}
	a.wantText("/readyz?verbose", 200, good+"ok\n")
	a.h.Drain()
	draining := "not ready: draining: the coordinator is shutting down\n"
	a.wantText("/livez", 200, "ok\n")
	a.wantText("/readyz", 503, draining)
	a.wantText("/readyz?verbose", 503, "[+] replay: ok\n[+] log: ok\n[-] drain: draining: the coordinator is shutting down\n"+draining)

	a = newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{Authenticate: func(r *http.Request) (dtchttp.Caller, error) {
		switch r.Header.Get("Authorization") {
		case "Bearer o":
			return dtchttp.Caller{Roles: []dtchttp.Role{dtchttp.RoleObserver}}, nil
		case "Bearer a":
			return dtchttp.Caller{Roles: []dtchttp.Role{dtchttp.RoleApp}}, nil
		}
		return dtchttp.Caller{}, errors.New("who are you?")
	}})
	a.wantText("/livez", 200, "ok\n") // whoever restarts it has no token
	a.wantText("/readyz", 200, "ok\n")
	a.want("GET", "/readyz?verbose", "", 401, map[string]any{"code": "unauthorized"})
	a.token = "a"
	a.want("GET", "/readyz?verbose", "", 403, map[string]any{"code": "forbidden"})
	a.token = "o"
	a.wantText("/readyz?verbose", 200, good+"ok\n")
}

// TestControlPoisoned: the log fails under a decision. That request is told so, later
// ones that nothing was begun, and the next opening knows.
func TestControlPoisoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := newDirect(t, disk, dtc.Config{}, dtchttp.ControlOptions{})
		entered, release := held(a.members[1])
		var wg sync.WaitGroup
		wg.Go(func() { a.refused("POST", "/v1/transactions", `{"id":"doubtful",`+order+`}`, 503, "outcome_unknown") })
		<-entered
		a.want("POST", "/v1/transactions/begin", `{"id":"grown"}`, 201, nil)
		synctest.Wait()
		disk.FailSync(1)
		release()
		wg.Wait()
		a.refused("POST", "/v1/transactions", `{"id":"late",`+order+`}`, 503, "not_ready")
		a.refused("POST", "/v1/transactions/begin", `{"id":"later"}`, 503, "not_ready")
		a.wantText("/livez", 200, "ok\n")
		r, _ := http.NewRequest(http.MethodGet, "http://dtc.test/readyz?verbose", http.NoBody)
		w := httptest.NewRecorder()
		a.h.ServeHTTP(w, r)
		if text := w.Body.String(); w.Code != 503 || !strings.Contains(text, "\n[-] log: poisoned: ") || !strings.Contains(text, "input/output error") {
			t.Errorf("%d %q", w.Code, text)
		}
		a.refused("GET", "/v1/transactions/late", "", 503, "not_ready") // the log may know it
		a.want("GET", "/v1/transactions/doubtful", "", 200, map[string]any{"outcome": nil, "committed": nil, "decided": nil})
		_ = a.c.Close()
		b := newDirect(t, disk, dtc.Config{}, dtchttp.ControlOptions{}, a.members[0], a.members[2], a.members[1])
		b.settle()
		status, doc := b.call("POST", "/v1/transactions", `{"id":"doubtful",`+order+`}`)
		if status != 200 || doc["committed"] == nil {
			t.Errorf("after a restart: %d %v", status, doc)
		}
	})
}

// TestControlDrain: nothing begins or grows any more; what was begun may be ended, and
// everybody may ask.
func TestControlDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{KeepEnded: 10}, dtchttp.ControlOptions{})
		if err := a.h.Wait(t.Context()); err != nil {
			t.Errorf("nothing runs: %v", err)
		}
		entered, release := held(a.members[1])
		for _, id := range []string{"commits", "rolls"} {
			a.want("POST", "/v1/transactions/begin", `{"id":"`+id+`"}`, 201, nil)
			a.want("POST", "/v1/transactions/"+id+"/branches", `{"participant":"orders"}`, 201, nil)
		}
		var runs sync.WaitGroup
		runs.Go(func() {
			a.want("POST", "/v1/transactions", `{"id":"runs",`+order+`}`, 200, map[string]any{"committed": true, "state": "committed"})
		})
		<-entered
		a.h.Drain()
		begun := a.c.Stats().Begun
		a.refused("POST", "/v1/transactions", `{"id":"new",`+order+`}`, 503, "draining")
		a.refused("POST", "/v1/transactions", `{"id":"runs",`+order+`}`, 503, "draining")
		a.refused("POST", "/v1/transactions/begin", "", 503, "draining")
		a.refused("POST", "/v1/transactions/commits/branches", `{"participant":"payment"}`, 503, "draining")
		if n := a.c.Stats().Begun; n != begun {
			t.Errorf("%d were begun", n-begun)
		}
		runs.Go(func() {
			a.want("POST", "/v1/transactions/commits/commit", "", 200, map[string]any{"committed": true, "branches.1": nil})
			a.want("POST", "/v1/transactions/rolls/rollback", "", 200, map[string]any{"committed": false})
		})
		a.want("GET", "/v1/transactions/runs", "", 200, map[string]any{"state": "preparing"})
		a.want("GET", "/v1/transactions", "", 200, nil)
		a.want("GET", "/v1/participants", "", 200, nil)
		a.want("POST", "/v1/transactions/runs/retry", "", 202, nil)
		a.want("POST", "/v1/transactions/runs/branches/payment/resolve", `{"outcome":"committed","reason":"x"}`, 400, nil) // not decided

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.h.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a transaction runs, and Wait returns %v", err)
		}
		waited := make(chan error, 2)
		for range 2 {
			go func() { waited <- a.h.Wait(t.Context()) }()
		}
		synctest.Wait()
		if len(waited) != 0 {
			t.Error("Wait returned while a transaction ran")
		}
		release()
		runs.Wait()
		for range 2 {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
		if err := a.h.Wait(t.Context()); err != nil {
			t.Errorf("once more: %v", err)
		}
		if err := a.c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestControlDrainSlow: a request whose body comes too late is refused, and keeps nobody
// waiting.
func TestControlDrainSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{MaxInFlight: 1})
		a.want("POST", "/v1/transactions/begin", `{"id":"s"}`, 201, nil)
		a.want("POST", "/v1/transactions/s/branches", `{"participant":"payment"}`, 201, nil)
		begun := a.c.Stats().Begun
		var slow sync.WaitGroup
		var bodies []*io.PipeWriter
		for path, body := range map[string]string{
			"": `{` + order + `}`, "/begin": `{}`, "/s/branches": `{"participant":"orders"}`,
		} {
			in, out := io.Pipe()
			bodies = append(bodies, out)
			slow.Go(func() {
				r, _ := http.NewRequest("POST", "http://dtc.test/v1/transactions"+path, io.MultiReader(in, strings.NewReader(body)))
				r.Header.Set("Content-Type", "application/json")
				r.ContentLength = -1
				if status, _, answer := a.send(r); status != 503 || answer["code"] != "draining" {
					t.Errorf("%s: %d %v", path, status, answer)
				}
			})
		}
		synctest.Wait()
		a.want("POST", "/v1/transactions/s/commit", "", 200, nil) // they take nobody's place
		a.h.Drain()
		if err := a.h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		for _, b := range bodies {
			_ = b.Close()
		}
		slow.Wait()
		if n := a.c.Stats().Begun; n != begun {
			t.Errorf("%d were begun", n-begun)
		}
	})
}

// TestControlClosing: a coordinator that closes before the handler drains begins
// nothing, and says so.
func TestControlClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
		if err := a.c.Close(); err != nil {
			t.Fatal(err)
		}
		a.refused("POST", "/v1/transactions", `{"id":"new",`+order+`}`, 503, "draining")
		a.refused("POST", "/v1/transactions/begin", "", 503, "draining")
	})
}
