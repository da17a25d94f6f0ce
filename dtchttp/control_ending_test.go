package dtchttp_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlFullEnding: what was begun can be ended however much new work waits; those
// that end are bounded too, and Wait waits for both.
func TestControlFullEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{MaxInFlight: 1})
		_, releaseNew := held(a.members[0])
		_, releaseOld := held(a.members[1])
		for _, id := range []string{"a", "b"} {
			a.want("POST", "/v1/transactions/begin", `{"id":"`+id+`"}`, 201, nil)
			a.want("POST", "/v1/transactions/"+id+"/branches", `{"participant":"payment"}`, 201, nil)
		}
		var runs, ends sync.WaitGroup
		runs.Go(func() {
			a.want("POST", "/v1/transactions", `{"id":"new","branches":[{"participant":"inventory"},{"participant":"orders"}]}`, 200, map[string]any{"committed": true})
		})
		synctest.Wait()
		a.refused("POST", "/v1/transactions", `{"branches":[{"participant":"orders"}]}`, 429, "full")
		ends.Go(func() { a.want("POST", "/v1/transactions/a/commit", "", 200, map[string]any{"committed": true}) })
		synctest.Wait()
		a.want("GET", "/v1/transactions/a", "", 200, map[string]any{"state": "preparing"})
		a.refused("POST", "/v1/transactions/a/commit", "", 429, "full")
		a.refused("POST", "/v1/transactions/b/rollback", "", 429, "full")
		a.want("GET", "/v1/transactions/b", "", 200, map[string]any{"state": "active"})

		a.h.Drain()
		waited := make(chan error, 1)
		go func() { waited <- a.h.Wait(t.Context()) }()
		releaseNew()
		runs.Wait()
		synctest.Wait()
		if len(waited) != 0 {
			t.Error("Wait returned while a commit ran")
		}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond) // one who asks only now
		defer cancel()
		if err := a.h.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a commit runs, and Wait returns %v", err)
		}
		releaseOld()
		ends.Wait()
		if err := <-waited; err != nil {
			t.Error(err)
		}
		a.want("POST", "/v1/transactions/b/rollback", "", 200, map[string]any{"committed": false})
	})
}
