package dtchttp_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// newDirect is newAPI without a network and with its log on a simulated disk, so that it
// works in virtual time. members are registered instead of new ones if there are any.
func newDirect(t testing.TB, disk *vfs.Mem, cfg dtc.Config, opts dtchttp.ControlOptions, members ...*dtctest.Memory) *api {
	t.Helper()
	a := &api{t: t, log: new(lockedBuffer), members: members}
	if members == nil {
		for _, id := range []string{"inventory", "payment", "orders"} {
			a.members = append(a.members, dtctest.NewMemory(id))
		}
	}
	for _, m := range a.members {
		cfg.Participants = append(cfg.Participants, m)
	}
	logger := slog.New(slog.NewTextHandler(a.log, nil))
	cfg.Logger, opts.Logger = logger, logger
	log, err := wal.Open("log", &wal.Options{FS: disk, SegmentSize: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if a.c, err = dtc.OpenLog(log, &cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.c.Close() })
	a.h = dtchttp.NewControlHandler(&opts)
	a.h.Use(a.c)
	return a
}

func (a *api) base() string {
	if a.Server == nil {
		return "http://dtc.test"
	}
	return a.URL
}

// do serves a request; without a network it is over when the handler is.
func (a *api) do(r *http.Request) (*http.Response, error) {
	if a.Server != nil {
		return a.Client().Do(r)
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// wantText checks an answer in plain text.
func (a *api) wantText(path string, status int, text string) {
	a.t.Helper()
	r, err := http.NewRequest(http.MethodGet, a.base()+path, http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	if got := w.Body.String(); w.Code != status || got != text || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		a.t.Errorf("%s: %d %v %q, want %d %q", path, w.Code, w.Header(), got, status, text)
	}
	if retry := w.Header().Get("Retry-After"); (retry != "") != (status == http.StatusServiceUnavailable) {
		a.t.Errorf("%s: %d has Retry-After %q", path, status, retry)
	}
}

// settle waits, in virtual time, until nothing is unfinished.
func (a *api) settle() {
	a.t.Helper()
	for range 10_000 {
		if a.c.Stats().Unfinished == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	a.t.Fatal("transactions are still unfinished")
}

// mute makes a participant not answer commits until the returned function is called.
func mute(m *dtctest.Memory) (speak func()) {
	spoken := make(chan struct{})
	m.OnCommit = func(context.Context, dtc.Branch) error {
		select {
		case <-spoken:
			return nil
		default:
			return dtc.NoAnswer(errors.New("mute"))
		}
	}
	return func() { close(spoken) }
}

// held makes a participant wait in Prepare; entered gets a token for each call.
func held(m *dtctest.Memory) (entered chan struct{}, release func()) {
	entered, open := make(chan struct{}, 1000), make(chan struct{})
	m.OnPrepare = func(ctx context.Context, _ dtc.Branch) (dtc.Vote, error) {
		entered <- struct{}{}
		select {
		case <-open:
			return dtc.VoteCommit, nil
		case <-ctx.Done():
			return dtc.VoteAbort, ctx.Err()
		}
	}
	return entered, func() { close(open) }
}
