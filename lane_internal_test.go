package dtc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
)

// TestSpareGoroutines: some of the goroutines that have made calls wait for the next ones,
// which they make, and end when the coordinator is closed: else the bubble does not.
func TestSpareGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		p := ParticipantFuncs{ParticipantID: "a", PrepareFunc: func(ctx context.Context, _ Branch) (Vote, error) {
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return VoteReadOnly, ctx.Err()
		}}
		c, err := OpenLog(blank{}, &Config{Participants: []Participant{p}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l := c.lane("a")
		idle := func() int {
			synctest.Wait()
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.idle)
		}
		for round, callers := range []int{2 * spare, spare - 1, 2 * spare} {
			before := idle()
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					id := TxID(fmt.Sprintf("%d-%d", round, i))
					if _, err := c.Execute(t.Context(), id, Branch{Participant: "a"}); err != nil {
						t.Error(err)
					}
				})
			}
			if n, want := idle(), max(0, before-callers); n != want {
				t.Errorf("round %d: %d wait while %d make calls, want %d", round, n, callers, want)
			}
			for range callers {
				gate <- struct{}{}
			}
			all.Wait()
			if n := idle(); n != spare {
				t.Errorf("round %d: %d wait after the calls, want %d", round, n, spare)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := idle(); n != 0 {
			t.Errorf("%d wait after the end", n)
		}
	})
}
