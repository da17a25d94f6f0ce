package dtchttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// TestClientStorm: fifty callers at once, of whose requests every second one is lost
// before the coordinator or after it. Each transaction runs once, and each caller hears
// what became of it.
func TestClientStorm(t *testing.T) {
	a := newAPI(t, dtc.Config{KeepEnded: 1000}, dtchttp.ControlOptions{})
	var mu sync.Mutex
	prepared := map[string]int{}
	for _, m := range a.members {
		m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
			mu.Lock()
			prepared[string(b.TxID)+" at "+b.Participant]++
			mu.Unlock()
			if strings.HasPrefix(string(b.TxID), "no") && b.Participant == "payment" {
				return dtc.VoteAbort, errors.New("no money")
			}
			return dtc.VoteCommit, nil
		}
	}
	var requests, lost atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) % 4 {
		case 1: // it does not arrive
			lost.Add(1)
			panic(http.ErrAbortHandler)
		case 3: // it arrives, and its answer does not
			lost.Add(1)
			a.h.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		a.h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	c := newClient(t, s.URL, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			id := dtc.TxID(fmt.Sprintf("yes-%d", i))
			if i%5 == 0 {
				id = dtc.TxID(fmt.Sprintf("no-%d", i))
			}
			ok, err := c.Execute(t.Context(), id, branch("inventory", fmt.Sprint(i)), branch("payment", ""))
			if refused := i%5 == 0; ok == refused || refused != errors.Is(err, dtc.ErrRolledBack) || !refused && err != nil {
				t.Errorf("%s: %v, %v", id, ok, err)
			}
		})
	}
	wg.Wait()
	if lost.Load() < 25 {
		t.Errorf("only %d of %d requests were lost", lost.Load(), requests.Load())
	}
	if len(prepared) < 90 {
		t.Errorf("only %d branches were prepared", len(prepared))
	}
	for what, n := range prepared {
		if n != 1 {
			t.Errorf("%s was prepared %d times", what, n)
		}
	}
	if n := a.c.Stats().Begun; n != 50 {
		t.Errorf("%d transactions were begun for 50 ids", n)
	}
}

// TestClientRunLostBegin: when the answer to the begin is lost, an id that nobody else can
// have goes on, and one that may be another's commits nothing.
func TestClientRunLostBegin(t *testing.T) {
	for _, id := range []dtc.TxID{"", "given"} {
		a := newAPI(t, dtc.Config{KeepEnded: 100}, dtchttp.ControlOptions{})
		var requests atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 1 {
				a.h.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			a.h.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		opts := &dtc.TxOptions{Lifetime: time.Minute}
		if id != "" {
			opts.Lifetime = 100 * time.Millisecond
		}
		called := false
		err := newClient(t, s.URL, nil).RunWith(t.Context(), id, opts, func(ctx context.Context, tx *dtchttp.ClientTx) error {
			called = true
			return tx.Enlist(ctx, "orders", nil)
		})
		if made := id == ""; called != made || made && err != nil || !made && !errors.Is(err, dtc.ErrRolledBack) {
			t.Errorf("%q: called %v, %v", id, called, err)
		}
	}
}
