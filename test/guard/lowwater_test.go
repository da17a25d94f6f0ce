package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/tally"
)

// Late prepares of branches that were rolled back race the dropping of their
// rows: whichever comes first, none may get in. Prepares and prunings come from
// different guards over the same tables, as from different processes, so that
// nothing but the database settles it.
func TestLatePrepareRacesPruning(t *testing.T) {
	const rounds, rows, preparers, copies = 3, 40, 6, 3
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		never := &guard.Options{PruneEvery: -1}
		preparer := newGuard(t, "tokens", d, k.funcs(), never)
		pruner := newGuard(t, "tokens", d, k.funcs(), never)
		n := newNames("tokens")
		var byRow, byLowWater, unanswered, dropped atomic.Int64
		for round := range uint64(rounds) {
			first := round*rows + 1
			for seq := first; seq < first+rows; seq++ {
				if err := pruner.Rollback(t.Context(), n.branch(seq)); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for range preparers {
				wg.Go(func() {
					for range copies {
						for _, i := range rand.Perm(rows) {
							vote, err := preparer.Prepare(t.Context(), n.branch(first+uint64(i)))
							switch {
							case vote != dtc.VoteAbort:
								t.Errorf("late prepare got in: %v", vote)
							case errors.Is(err, dtc.ErrNoAnswer):
								unanswered.Add(1)
							case !errors.Is(err, guard.ErrRefused):
								t.Errorf("late prepare: %v", err)
							case strings.Contains(err.Error(), "below low water"):
								byLowWater.Add(1)
							default:
								byRow.Add(1)
							}
						}
					}
				})
			}
			wg.Go(func() {
				for seq := first + 1; seq <= first+rows; seq += 1 + rand.Uint64N(4) {
					// A message of a branch that is over brings the low water. Its own
					// row is above it.
					b := n.branch(first + rows + 1000)
					b.LowWater = n.xid(min(seq, first+rows))
					_ = pruner.Rollback(t.Context(), b)
					got, err := pruner.Prune(t.Context())
					if err != nil {
						t.Logf("prune: %v", err)
					}
					dropped.Add(int64(got))
				}
			})
			wg.Wait()
		}
		wantInDoubt(t, preparer, n, 0)
		if got := d.int(t, "SELECT count(*) FROM held"); got != 0 {
			t.Errorf("%d late prepares hold something", got)
		}
		t.Logf("%d unanswered", unanswered.Load())
		tally.Add(t, "guard", "late prepares refused by a row", byRow.Load(), 1)
		tally.Add(t, "guard", "late prepares refused by low water", byLowWater.Load(), 1)
		tally.Add(t, "guard", "rows dropped beside late prepares", dropped.Load(), rounds*rows/2)
		if unanswered.Load() > rounds*rows*preparers*copies/10 {
			t.Error("too many prepares got no answer")
		}
	})
}

// The same race, held still in its narrowest place: the late prepare is waiting
// for the transaction that drops the row when low water becomes visible.
func TestLatePrepareMeetsPruning(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		g := newGuard(t, "tokens", d, k.funcs(), nil)
		n := newNames("tokens")
		if err := g.Rollback(t.Context(), n.branch(5)); err != nil {
			t.Fatal(err)
		}
		drop, err := d.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer drop.Rollback()
		for query, args := range map[string][]any{
			"DELETE FROM dtc_guard_branch WHERE participant = 'tokens' AND xid = ?":                           {n.xid(5).String()},
			"INSERT INTO dtc_guard_low_water (participant, log, incarnation, seq) VALUES ('tokens', ?, 2, 6)": {n.log.String()},
		} {
			if _, err := drop.Exec(d.q(query), args...); err != nil {
				t.Fatal(err)
			}
		}
		answered := make(chan error, 1)
		go func() {
			vote, err := g.Prepare(context.Background(), n.branch(5))
			if vote != dtc.VoteAbort {
				err = fmt.Errorf("late prepare got in: %v", vote)
			}
			answered <- err
		}()
		select {
		case err := <-answered:
			t.Errorf("the prepare did not wait: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		if err := drop.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; !errors.Is(err, guard.ErrRefused) || !strings.Contains(err.Error(), "below low water") {
			t.Errorf("%v; want a refusal by low water", err)
		}
		wantInDoubt(t, g, n, 0)
	})
}

// A prepare may be held up between its insert and its commit for as long as its
// function likes. A rollback that comes meanwhile waits for it, and then undoes
// it, also when it lies below the stored low water.
func TestRollbackWaitsForRunningPrepare(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		entered, leave := make(chan struct{}), make(chan struct{})
		f := k.funcs()
		f.Prepare = func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
			vote, err := k.prepare(ctx, tx, b)
			close(entered)
			<-leave
			return vote, err
		}
		g := newGuard(t, "tokens", d, f, nil)
		n := newNames("tokens")
		voted := make(chan dtc.Vote, 1)
		go func() {
			vote, _ := g.Prepare(context.Background(), n.branch(5))
			voted <- vote
		}()
		<-entered
		if d.dialect != guard.SQLite { // there the prepare is the only writer
			above := n.branch(200)
			above.LowWater = n.xid(100)
			if err := g.Rollback(t.Context(), above); err != nil {
				t.Fatal(err)
			}
			if _, err := g.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		rolledBack := make(chan struct{})
		go func() {
			b := n.branch(5)
			b.LowWater = n.xid(100)
			for g.Rollback(context.Background(), b) != nil {
			}
			close(rolledBack)
		}()
		select {
		case <-rolledBack:
			t.Error("rollback was acknowledged while the prepare was running")
		case <-time.After(200 * time.Millisecond):
		}
		close(leave)
		if vote := <-voted; vote != dtc.VoteCommit {
			t.Errorf("prepare answered %v, want vote_commit", vote)
		}
		<-rolledBack
		wantInDoubt(t, g, n, 0)
		if e, err := k.effect(n.xid(5)); e.Held || e.Applied != 0 || err != nil {
			t.Errorf("effect %+v, %v; want none", e, err)
		}
	})
}
