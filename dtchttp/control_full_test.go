package dtchttp_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlFull: 429 by each of the limits, and nothing was begun.
func TestControlFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{MaxTransactions: 4, CompletionWait: -1}, dtchttp.ControlOptions{MaxInFlight: 3})
		_, release := held(a.members[0])
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				a.want("POST", "/v1/transactions", fmt.Sprintf(`{"id":"r%d","branches":[{"participant":"orders"},{"participant":"payment"},{"participant":"inventory"}]}`, i%2), 200, map[string]any{"committed": true})
			})
		}
		synctest.Wait()
		begun := a.c.Stats().Begun
		a.refused("POST", "/v1/transactions", `{"branches":[{"participant":"orders"}]}`, 429, "full")
		if n := a.c.Stats().Begun; n != begun || n != 2 {
			t.Errorf("%d were begun, %d before", n, begun)
		}
		a.want("GET", "/v1/transactions/r0", "", 200, nil) // who asks is not counted
		a.want("POST", "/v1/transactions/begin", `{"id":"b0"}`, 201, nil)
		a.want("POST", "/v1/transactions/begin", `{"id":"b1"}`, 201, nil)
		a.refused("POST", "/v1/transactions/begin", `{"id":"b2"}`, 429, "full") // four are unfinished
		a.refused("POST", "/v1/transactions/b0/branches", `{"participant":"orders"}`, 429, "full")
		release()
		wg.Wait()
		a.settleBut(2)
		a.want("POST", "/v1/transactions", `{"branches":[{"participant":"orders"}]}`, 200, map[string]any{"committed": true})
		a.want("GET", "/v1/transactions/b2", "", 404, nil)
	})
}

// settleBut waits until no more than n transactions are unfinished.
func (a *api) settleBut(n int) {
	a.t.Helper()
	for range 1000 {
		if a.c.Stats().Unfinished <= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.t.Fatal("transactions are still unfinished")
}

// TestControlMemory: the bodies of requests that run are bounded together, until they
// are over.
func TestControlMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{MaxBytes: 1000})
		_, release := held(a.members[0])
		body := func(id string, size int) string {
			s := `{"id":"` + id + `","branches":[{"participant":"inventory","payload":"`
			return s + strings.Repeat("x", size-len(s)-4) + `"}]}`
		}
		var wg sync.WaitGroup
		for _, id := range []string{"a", "b"} {
			wg.Go(func() { a.want("POST", "/v1/transactions", body(id, 450), 200, nil) })
		}
		synctest.Wait()
		a.refused("POST", "/v1/transactions", body("c", 101), 429, "full")
		a.refused("POST", "/v1/transactions/begin", `{"id":"`+strings.Repeat("c", 95)+`"}`, 429, "full")
		a.want("POST", "/v1/transactions/begin", `{"id":"d"}`, 201, nil) // there is room for a small one
		if n := a.c.Stats().Begun; n != 3 {
			t.Errorf("%d were begun", n)
		}
		release()
		wg.Wait()
		for i := range 5 { // what was taken is given back, also by what was refused
			a.want("POST", "/v1/transactions", body(fmt.Sprint(i), 1000), 200, nil)
			a.refused("POST", "/v1/transactions", body(fmt.Sprint(i), 1001), 429, "full")
		}
	})
}

// TestControlDiskFull: the disk has room only for what was begun.
func TestControlDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		a := newDirect(t, disk, dtc.Config{}, dtchttp.ControlOptions{})
		a.want("POST", "/v1/transactions/begin", `{"id":"before"}`, 201, nil)
		a.want("POST", "/v1/transactions/before/branches", `{"participant":"orders"}`, 201, nil)
		disk.LimitSpace(0)
		status := 0
		for i := 0; status != 503 && i < 2000; i++ {
			_, h, answer := a.full("POST", "/v1/transactions", `{`+order+`}`)
			if code := answer["code"]; code != nil {
				status = int(answer["status"].(float64))
				if status != 503 || code != "full" || h.Get("Retry-After") != "1" {
					t.Fatalf("%v", answer)
				}
			}
		}
		begun := a.c.Stats().Begun
		a.refused("POST", "/v1/transactions", `{`+order+`}`, 503, "full")
		a.refused("POST", "/v1/transactions/begin", "", 503, "full")
		if n := a.c.Stats().Begun; n != begun {
			t.Errorf("%d were begun", n-begun)
		}
		a.want("POST", "/v1/transactions/before/commit", "", 200, map[string]any{"committed": true})
	})
}

// TestControlForgotten: an unknown transaction comes with the time from which on one
// would be known.
func TestControlForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{OutcomeLimit: 2}, dtchttp.ControlOptions{})
		unknown := func() (any, bool) {
			answer := a.want("GET", "/v1/transactions/t0", "", 404, map[string]any{"code": "unknown_transaction"})
			since, there := answer["remembered_since"]
			return since, there
		}
		if since, there := unknown(); !there || since != nil {
			t.Errorf("nothing was forgotten: %v, %v", since, there)
		}
		for i := range 3 {
			run(a, fmt.Sprint("t", i), "orders")
			time.Sleep(1500 * time.Millisecond)
		}
		if since, _ := unknown(); since != "2000-01-01T00:00:00.000Z" {
			t.Errorf("the first was forgotten: %v", since)
		}
		a.want("GET", "/v1/transactions/t1", "", 200, map[string]any{ // of which the outcome alone is known
			"committed": true, "state": "committed", "ended": "2000-01-01T00:00:01.500Z", "remembered_since": "2000-01-01T00:00:00.000Z", "branches.0": nil, "started": nil,
		})
		a.want("POST", "/v1/transactions/t0/commit", "", 404, map[string]any{"remembered_since": "2000-01-01T00:00:00.000Z"})
		run(a, "t3", "orders")
		a.want("POST", "/v1/transactions/t0/retry", "", 404, map[string]any{"remembered_since": "2000-01-01T00:00:01.500Z"})
		a.want("GET", "/v1/transactions?limit=1", "", 200, nil)
	})
}
