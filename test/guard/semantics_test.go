package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
)

// scripted is a guard whose Prepare is the test's, over the tokens tables.
func scripted(t *testing.T, d *database, o *guard.Options, prepare func(context.Context, *sql.Tx, dtc.Branch) (dtc.Vote, error)) (*guard.Guard, tokens, names) {
	t.Helper()
	k := newTokens(t, d)
	f := k.funcs()
	f.Prepare = prepare
	return newGuard(t, "tokens", d, f, o), k, newNames("tokens")
}

func TestErrorOfPrepareIsAVoteForGood(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		soldOut := errors.New("sold out\x00 \xff")
		calls := 0
		g, k, n := scripted(t, d, nil, func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
			if calls++; calls > 1 {
				return dtc.VoteCommit, nil
			}
			if err := d.execTx(ctx, tx, "INSERT INTO held (xid) VALUES (?)", b.XID.String()); err != nil {
				return dtc.VoteAbort, err
			}
			return dtc.VoteCommit, soldOut // the error counts
		})
		vote, err := g.Prepare(t.Context(), n.branch(1))
		if vote != dtc.VoteAbort || !errors.Is(err, soldOut) || errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("prepare: %v, %v; want the function's own error", vote, err)
		}
		vote, err = g.Prepare(t.Context(), n.branch(1))
		if vote != dtc.VoteAbort || !errors.Is(err, guard.ErrRefused) || !strings.Contains(err.Error(), "sold out") {
			t.Errorf("prepare repeated: %v, %v; want the stored refusal", vote, err)
		}
		if e, err := k.effect(n.xid(1)); e.Held || err != nil {
			t.Errorf("effect %+v, %v; want none", e, err)
		}
	})
}

func TestNoAnswerStoresNoVote(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		answers := []error{dtc.NoAnswer(errors.New("upstream")), fmt.Errorf("call: %w", context.DeadlineExceeded), errors.New("mine")}
		o := &guard.Options{Transient: func(err error) bool { return err.Error() == "mine" }}
		g, _, n := scripted(t, d, o, func(context.Context, *sql.Tx, dtc.Branch) (dtc.Vote, error) {
			if len(answers) == 0 {
				return dtc.VoteCommit, nil
			}
			err := answers[0]
			answers = answers[1:]
			return dtc.VoteAbort, err
		})
		for len(answers) > 0 {
			if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) {
				t.Errorf("prepare: %v, %v; want no answer", vote, err)
			}
		}
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteCommit || err != nil {
			t.Errorf("prepare at last: %v, %v; want vote_commit", vote, err)
		}
	})
}

func TestEndedContextIsNoAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		slow := true
		g, _, n := scripted(t, d, nil, func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
			if slow {
				<-ctx.Done()
				return dtc.VoteAbort, errors.New("gave up") // does not say why
			}
			return dtc.VoteCommit, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if vote, err := g.Prepare(ctx, n.branch(1)); vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("prepare: %v, %v; want no answer", vote, err)
		}
		slow = false
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteCommit || err != nil {
			t.Errorf("prepare again: %v, %v; want vote_commit", vote, err)
		}
	})
}

// Two prepares that lock two rows in opposite order: the victim has no vote, and
// gets one when it is asked again. The error is recognised by its code, through
// whatever driver.
func TestDeadlockIsNoAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		if d.dialect == guard.SQLite {
			t.Skip("SQLite has one writer and no deadlocks between them")
		}
		for _, swallow := range []bool{false, true} {
			if swallow && d.dialect == guard.PostgreSQL {
				continue // the failed transaction cannot be committed there
			}
			t.Run(fmt.Sprintf("swallow=%v", swallow), func(t *testing.T) { testDeadlock(t, d, swallow) })
		}
	})
}

func testDeadlock(t *testing.T, d *database, swallow bool) {
	d.exec(t, "DROP TABLE IF EXISTS held")
	d.exec(t, "DROP TABLE IF EXISTS applied")
	d.exec(t, "DROP TABLE IF EXISTS stock")
	d.exec(t, "CREATE TABLE stock (id integer NOT NULL PRIMARY KEY, n integer NOT NULL)")
	d.exec(t, "INSERT INTO stock (id, n) VALUES (1, 0)")
	d.exec(t, "INSERT INTO stock (id, n) VALUES (2, 0)")
	var both sync.WaitGroup
	both.Add(2)
	waits := true
	take := func(ctx context.Context, tx *sql.Tx, id uint64) error {
		return d.execTx(ctx, tx, "UPDATE stock SET n = n + 1 WHERE id = ?", id)
	}
	g, _, n := scripted(t, d, nil, func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
		mine := b.XID.Seq
		if err := take(ctx, tx, mine); err != nil {
			return dtc.VoteAbort, err
		}
		if waits {
			both.Done()
			both.Wait()
		}
		err := take(ctx, tx, 3-mine)
		if swallow {
			return dtc.VoteCommit, nil // wrong: and must not pass for a vote
		}
		return dtc.VoteCommit, err
	})
	answered := make([]error, 2)
	var wg sync.WaitGroup
	for i := range answered {
		wg.Go(func() { _, answered[i] = g.Prepare(t.Context(), n.branch(uint64(i+1))) })
	}
	wg.Wait()
	waits = false
	victims := 0
	for i, err := range answered {
		if err == nil {
			continue
		}
		if victims++; !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("the victim answered %v, want no answer", err)
		}
		// It can vote only once the other is finished or its locks are gone.
		if vote, err := g.Prepare(t.Context(), n.branch(uint64(i+1))); vote != dtc.VoteCommit || err != nil {
			t.Errorf("prepare repeated: %v, %v; want vote_commit", vote, err)
		}
	}
	if victims != 1 {
		t.Errorf("%d victims, want 1: %v", victims, answered)
	}
	wantInDoubt(t, g, n, 2)
}

// A function that fails a statement, keeps quiet and votes commit gets no vote
// from PostgreSQL's failed transaction.
func TestSwallowedErrorIsNoVote(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		if d.dialect != guard.PostgreSQL {
			t.Skip("a failed statement does not fail the transaction there")
		}
		g, _, n := scripted(t, d, nil, func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
			_, _ = tx.ExecContext(ctx, "SELECT 1/0")
			return dtc.VoteCommit, nil
		})
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote == dtc.VoteCommit || !errors.Is(err, dtc.ErrNoAnswer) {
			t.Errorf("prepare: %v, %v; want no answer", vote, err)
		}
		wantInDoubt(t, g, n, 0)
	})
}

func TestPanicLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		d.db.SetMaxOpenConns(2)
		explode := true
		k := newTokens(t, d)
		boom := func(ctx context.Context, tx *sql.Tx, b dtc.Branch) {
			if explode {
				_ = d.execTx(ctx, tx, "INSERT INTO held (xid) VALUES (?)", b.XID.String())
				panic("boom")
			}
		}
		g := newGuard(t, "tokens", d, guard.Funcs{
			Prepare: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
				boom(ctx, tx, b)
				return k.prepare(ctx, tx, b)
			},
			Commit: func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
				boom(ctx, tx, b)
				return k.commit(ctx, tx, b)
			},
		}, nil)
		n := newNames("tokens")
		panics := func(call func()) {
			t.Helper()
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			call()
		}
		for range 5 { // more than there are connections
			panics(func() { _, _ = g.Prepare(t.Context(), n.branch(1)) })
		}
		explode = false
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteCommit || err != nil {
			t.Fatalf("prepare: %v, %v; want vote_commit", vote, err)
		}
		explode = true
		for range 5 {
			panics(func() { _ = g.Commit(t.Context(), n.branch(1)) })
		}
		explode = false
		if err := g.Commit(t.Context(), n.branch(1)); err != nil {
			t.Fatal(err)
		}
		if e, err := k.effect(n.xid(1)); e.Applied != 1 || e.Held || err != nil {
			t.Errorf("effect %+v, %v; want applied once", e, err)
		}
		if used := d.db.Stats().InUse; used != 0 {
			t.Errorf("%d connections leaked", used)
		}
	})
}

func TestFailedCommitFunctionIsRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		fail := 2
		f := k.funcs()
		f.Commit = func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
			if err := k.commit(ctx, tx, b); err != nil {
				return err
			}
			if fail--; fail >= 0 {
				return errors.New("not yet")
			}
			return nil
		}
		g := newGuard(t, "tokens", d, f, nil)
		n := newNames("tokens")
		if vote, err := g.Prepare(t.Context(), n.branch(1)); vote != dtc.VoteCommit {
			t.Fatal(vote, err)
		}
		for range 2 {
			if err := g.Commit(t.Context(), n.branch(1)); err == nil {
				t.Fatal("commit was acknowledged although the function failed")
			}
			wantInDoubt(t, g, n, 1)
		}
		if err := g.Commit(t.Context(), n.branch(1)); err != nil {
			t.Fatal(err)
		}
		if e, err := k.effect(n.xid(1)); e.Applied != 1 || err != nil {
			t.Errorf("effect %+v, %v; want applied once", e, err)
		}
	})
}

// Participants that share the tables do not see each other's branches.
func TestSharedTables(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		one := newGuard(t, "One", d, k.funcs(), nil)
		two := newGuard(t, "one", d, k.funcs(), nil) // differs in case only
		n := newNames("One")
		if vote, err := one.Prepare(t.Context(), n.branch(7)); vote != dtc.VoteCommit {
			t.Fatal(vote, err)
		}
		if vote, err := two.Prepare(t.Context(), n.branch(7)); vote != dtc.VoteAbort || err == nil {
			t.Errorf("a branch of another participant answered %v, %v", vote, err)
		}
		wantInDoubt(t, two, n, 0)
		b := n.branch(7)
		b.Participant = "one"
		b.LowWater = n.xid(100)
		if err := two.Rollback(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if _, err := two.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantInDoubt(t, one, n, 1)
		if vote, err := one.Prepare(t.Context(), n.branch(8)); vote != dtc.VoteCommit {
			t.Errorf("the other participant's low water refused a branch: %v, %v", vote, err)
		}
		if err := one.Commit(t.Context(), n.branch(7)); err != nil {
			t.Error(err)
		}
	})
}

// More branches than fit on one page of the listing, in two incarnations and with
// equal numbers under different nonces.
func TestLongListing(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		k := newTokens(t, d)
		g := newGuard(t, "tokens", d, k.funcs(), nil)
		n := newNames("tokens")
		want := map[dtc.XID]bool{}
		tx, err := d.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(1203) {
			x := n.xid(1 + i/3)
			x.Incarnation.Number = uint32(1 + i%2)
			x.Incarnation.Nonce = uint32(i % 3)
			if want[x] {
				continue
			}
			want[x] = true
			if _, err := tx.Exec(d.q("INSERT INTO dtc_guard_branch (participant, xid, log, incarnation, seq, state, reason, prepared_at) VALUES ('tokens', ?, ?, ?, ?, 'prepared', '', 1)"),
				x.String(), x.Log.String(), x.Incarnation.Number, int64(x.Seq)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		list, err := g.InDoubt(t.Context(), n.log)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			if !want[b.XID] {
				t.Errorf("%s listed twice or never prepared", b.XID)
			}
			delete(want, b.XID)
		}
		if len(want) > 0 || len(list) < 1000 {
			t.Errorf("%d listed, %d missing", len(list), len(want))
		}
	})
}
