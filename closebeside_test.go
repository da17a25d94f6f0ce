package dtc_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestCloseWhileRunBegins: Close rolls back a transaction of Run whose function is not
// running yet, and that one has nothing left to wait for.
func TestCloseWhileRunBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(services("a")), Trace: &dtc.Trace{
			Begun: func(dtc.TraceTx) { close(begun); <-goOn },
		}})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := c.Run(t.Context(), "t", func(ctx context.Context, tx *dtc.Tx) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if !errors.Is(err, dtc.ErrRolledBack) {
				t.Error(err)
			}
		})
		<-begun
		at := time.Now()
		wg.Go(func() { closed(t, c) })
		synctest.Wait()
		close(goOn)
		wg.Wait()
		if took := time.Since(at); took > time.Second {
			t.Errorf("Close waited %v for a function whose transaction it had rolled back", took)
		}
	})
}

// picky looks at the payload to find out whether it can commit in one phase.
type picky struct{ *dtctest.Memory }

func (p picky) CanOnePhase(b dtc.Branch) bool { return len(b.Payload) > 0 && b.Payload[0] == '{' }

// TestCloseWhileExecuteBegins: Close finds a transaction that has just been registered,
// with its payloads. The race detector tells.
func TestCloseWhileExecuteBegins(t *testing.T) {
	for range 20 {
		x := newSingle("x")
		began := make(chan struct{}, 1)
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{picky{x.Memory}}, Trace: &dtc.Trace{
			Begun: func(dtc.TraceTx) { began <- struct{}{}; time.Sleep(3 * time.Millisecond) },
		}})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Execute(t.Context(), "t", branches("x")...)
			if err != nil && !errors.Is(err, dtc.ErrRolledBack) && !errors.Is(err, dtc.ErrClosed) {
				t.Error(err)
			}
		})
		time.Sleep(time.Millisecond)
		closed(t, c)
		wg.Wait()
	}
}

// TestCloseWhileSettling: Close does not wait for a participant that does not say what
// became of a branch in one phase, however long its callers would.
func TestCloseWhileSettling(t *testing.T) {
	onePhase(t, dtc.Config{CompletionWait: 24 * time.Hour}, func(t *testing.T, c *dtc.Coordinator, x *single, _ *vfs.Mem) {
		x.down.Store(true)
		x.mute.Store(true)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Execute(t.Context(), "t", branches("x")...)
			if !errors.Is(err, dtc.ErrInDoubt) {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		at := time.Now()
		closed(t, c)
		if took := time.Since(at); took > time.Minute {
			t.Errorf("Close took %v", took)
		}
		wg.Wait()
	})
}
