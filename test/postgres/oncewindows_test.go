package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// The statements of one phase at which connections are lost. In a pool that keeps nothing
// they are one message.
const (
	atEvidence = "INSERT INTO public.dtc_once AS o (participant, log, tx_id, incarnation, nonce, seq, request"
	atOnce     = "COMMIT"
)

// onceWays are the ways whose branches are committed in one phase.
var onceWays = map[string]func(ctx context.Context, p *proxied, tx *dtc.Tx) error{
	"Do":         ways["Do"],
	"Statements": ways["Statements"], // one message
	"Counted": func(_ context.Context, _ *proxied, tx *dtc.Tx) error {
		one := int64(1)
		return tx.Enlist("orders", statements(postgres.Statement{SQL: "INSERT INTO token (xid) VALUES ($1)", Args: args(tx.XID().String()), Rows: &one}))
	},
}

// TestWindowsOfOnePhase loses the connection at the evidence and at COMMIT, before the server
// has seen it and after it has done it, for good or for a while.
func TestWindowsOfOnePhase(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	var wg sync.WaitGroup
	few := make(chan struct{}, 12)
	windows := int64(0)
	for mode, all := range map[string][]string{"cache_statement": {atEvidence, atOnce}, "exec": {atEvidence}} {
		for way := range onceWays {
			for _, at := range all {
				for _, f := range wire.Faults() {
					windows++
					wg.Go(func() {
						few <- struct{}{}
						defer func() { <-few }()
						if err := w.onceWindow(t, mode, way, at, f); err != nil {
							t.Errorf("%s, %s, %s at %s: %v", mode, way, f, at, err)
						}
					})
				}
			}
		}
	}
	wg.Wait()
	w.clean(t)
	tally.Add(t, "databases", "PostgreSQL: messages of one phase at which a connection was lost on purpose", windows, 36)
}

func (w *world) onceWindow(t *testing.T, mode, way, at string, f wire.Fault) error {
	p, err := w.proxy(t, "orders", "&default_query_exec_mode="+mode)
	if err != nil {
		return err
	}
	defer p.close()
	c, err := dtc.Open(t.TempDir(), &dtc.Config{Participants: []dtc.Participant{p.db}, SweepInterval: 200 * time.Millisecond, Timing: wire.Patience(f)})
	if err != nil {
		return err
	}
	defer c.Close()
	trap := p.proxy.Arm(at, 2, f)
	for i := range 3 {
		var xid dtc.XID
		id := dtc.TxID(fmt.Sprintf("tx-%d", i))
		opts := &dtc.TxOptions{CompletionWait: wire.Enough}
		if i == 1 && f == wire.StallRequest {
			opts.PrepareTimeout = 2 * wire.GiveUp // until everybody gives up on what is held back
		}
		err := c.RunWith(t.Context(), id, opts, func(ctx context.Context, tx *dtc.Tx) error {
			xid = tx.XID()
			return onceWays[way](ctx, p, tx)
		})
		if i != 1 && err != nil || err != nil && !errors.Is(err, dtc.ErrRolledBack) {
			return fmt.Errorf("transaction %d: error %w", i, err)
		}
		if i == 1 && f != wire.StallRequest && (err == nil) != commitsOnce(way, f) {
			return fmt.Errorf("the transaction whose connection was lost: error %w", err)
		}
		if i == 1 {
			select {
			case <-trap.Hit():
			case <-time.After(wire.Enough):
				return errors.New("nothing was lost")
			}
			trap.Release()
			<-trap.Done()
		}
		if err := w.truth(c, id, xid, err == nil); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	return nil
}

// commitsOnce says how a transaction ends. Where a request is held back that depends on who
// comes first.
func commitsOnce(way string, f wire.Fault) bool {
	return f != wire.CutRequest || way != "Do" // statements are done again
}
