package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// TestOnePhaseWithoutStandby: what was committed in one phase is on the primary, where it can
// be seen, and on no standby. It is not called committed before it is.
func TestOnePhaseWithoutStandby(t *testing.T) {
	t.Parallel()
	p := newPair(t, true)
	s := newSeries()
	mustCommitOnce(t, p.front.db, s.branch("before"))
	p.standby.Stop(t)
	b := s.branch("away")
	brief := func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), 2*time.Second) }
	ctx, cancel := brief()
	defer cancel()
	if v, err := p.front.db.CommitOnePhase(ctx, b); v != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) {
		t.Errorf("without its standby: %v, %v", v, err)
	}
	// Whoever waits for the standby is ended, so that it is there to be seen.
	eventually(t, "it is seen", func() bool {
		ctx, cancel := brief()
		defer cancel()
		if o, err := p.front.db.Settle(ctx, b); o != dtc.OutcomeUnknown || !errors.Is(err, dtc.ErrNoAnswer) {
			t.Fatalf("settled without the standby as %v, %v", o, err)
		}
		return p.rows(t, "away") == 1
	})
	b.Attempt = 2
	for name, ask := range map[string]func(context.Context) error{
		"commit": func(ctx context.Context) error { _, err := p.front.db.CommitOnePhase(ctx, b); return err },
		"settle": func(ctx context.Context) error { _, err := p.front.db.Settle(ctx, b); return err },
		"prove":  func(ctx context.Context) error { _, err := p.front.db.Prove(ctx, s.log, b.TxID); return err },
	} {
		ctx, cancel := brief()
		if err := ask(ctx); !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("%s is answered: %v", name, err)
		}
		cancel()
	}
	p.standby.Start(t)
	eventually(t, "it is called committed", func() bool {
		o, err := p.front.db.Settle(t.Context(), b)
		return o == dtc.Committed && err == nil
	})
	p.fail(t)
	eventually(t, "the standby answers", func() bool {
		v, err := p.front.db.CommitOnePhase(t.Context(), b)
		if err != nil && !errors.Is(err, dtc.ErrNoAnswer) {
			t.Fatal(v, err)
		}
		return v == dtc.VoteCommit && err == nil
	})
	if n := p.rows(t, "away"); n != 1 {
		t.Errorf("%d rows", n)
	}
}
