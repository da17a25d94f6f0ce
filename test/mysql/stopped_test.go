package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// inTwoPhases hides that a database can commit in one phase.
type inTwoPhases struct {
	dtc.Participant
	dtc.Lister
}

// TestLate: a statement that would prepare a branch is on its way, and arrives when
// everybody has given the branch up and its session is ended. Nothing may be left of it.
func TestLate(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, wire.MySQL)
	trap := p.proxy.Arm(atPrepare, 1, wire.StallRequest)
	c := open(t, inTwoPhases{p.db, p.db})
	var id int
	var xid dtc.XID
	err := c.RunWith(t.Context(), dtc.TxID("late"), &dtc.TxOptions{PrepareTimeout: 500 * time.Millisecond},
		func(ctx context.Context, tx *dtc.Tx) error {
			xid = tx.XID()
			return p.db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) (err error) {
				if id, err = connectionID(ctx, q); err != nil {
					return err
				}
				return insert(ctx, q, xid)
			})
		})
	if !errors.Is(err, dtc.ErrRolledBack) {
		t.Errorf("error %v", err)
	}
	<-trap.Hit()
	eventually(t, "it ends while the statement is held up", func() bool { return c.Stats().Unfinished == 0 })
	trap.Release()
	<-trap.Done()
	eventually(t, "the session ends", func() bool {
		return w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id) == 0
	})
	if err := w.truth(c, "late", xid, false); err != nil {
		t.Error(err)
	}
	w.clean(t)
}

// TestOKIsNoProof: the server says OK to a commit from another session and has not
// committed, as it may while a session leaves. Here it was asked something else.
func TestOKIsNoProof(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, lying(atCommit, 1, nil))
	b := w.branch(1)
	if v, err := w.db.Prepare(t.Context(), b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	lied := p.proxy.Arm(atCommit, 1, wire.StallReply)
	lied.Release() // it only tells that it came by
	if err := p.db.Commit(t.Context(), b); err != nil {
		t.Errorf("commit: %v", err)
	}
	<-lied.Done()
	if held, applied, err := w.effect(b.XID, "orders"); err != nil || held || applied != 1 {
		t.Errorf("held: %v, applied: %d, error: %v", held, applied, err)
	}
}

// TestFromElsewhere: another process finishes while the session that prepared is still
// connected, or is just leaving, and two do so at once.
func TestFromElsewhere(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	others := []*mysql.Database{w.participant(t, "orders", nil), w.participant(t, "orders", nil)}
	ctx := background(t)
	for i := range 24 {
		b := w.branch(uint64(100 + i))
		if i < 4 { // the row says who and when, whatever time the session has
			b.Payload = statements(mysql.Statement{SQL: "SET TIMESTAMP = 1"},
				mysql.Statement{SQL: "INSERT INTO token VALUES (?)", Args: args(b.XID.String())})
		}
		if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
		call := (*mysql.Database).Commit
		if i%2 == 1 {
			call = (*mysql.Database).Rollback
		}
		if i%4 >= 2 { // its session is just leaving
			id := w.session(t, b)
			w.exec(t, fmt.Sprintf("KILL CONNECTION %d", id))
		}
		var wg sync.WaitGroup
		for _, db := range others {
			wg.Go(func() {
				for try := 1; ; try++ {
					err := call(db, ctx, b)
					if err == nil {
						return
					}
					if finished := (*dtc.FinishedError)(nil); errors.As(err, &finished) || ctx.Err() != nil || try > 20 {
						t.Errorf("branch %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if held, applied, err := w.effect(b.XID, "orders"); err != nil || held || applied != (i+1)%2 {
			t.Errorf("branch %d: held: %v, applied: %d, error: %v", i, held, applied, err)
		}
	}
}

// session returns the connection that works for a branch, as its row says before it is
// committed.
func (w *world) session(t *testing.T, b dtc.Branch) (id int) {
	t.Helper()
	conn, err := w.admin.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(context.Background(), "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"); err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRowContext(context.Background(), "SELECT connection_id FROM dtc_branch WHERE name = ?", b.XID.String()+"."+b.Participant).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// byHand finishes a prepared branch against the adapter.
func (w *world) byHand(t *testing.T, b dtc.Branch, verb string) {
	t.Helper()
	id := w.session(t, b)
	w.exec(t, fmt.Sprintf("KILL CONNECTION %d", id))
	eventually(t, "the session leaves", func() bool { // before, an OK may be none
		return w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id) == 0
	})
	var err error
	eventually(t, verb+" by hand", func() bool {
		_, err = w.admin.Exec(verb + " " + mysql.Name(b.XID, b.Participant))
		return err == nil
	})
}

// meddler meddles with a branch before it is finished.
type meddler struct {
	*mysql.Database
	meddle func(dtc.Branch)
}

func (p meddler) Commit(ctx context.Context, b dtc.Branch) error {
	if b.Attempt == 1 {
		p.meddle(b)
	}
	return p.Database.Commit(ctx, b)
}

func (p meddler) Rollback(ctx context.Context, b dtc.Branch) error {
	if b.Attempt == 1 {
		p.meddle(b)
	}
	return p.Database.Rollback(ctx, b)
}

// TestFinishedByHand: somebody finishes a prepared branch against the decision.
func TestFinishedByHand(t *testing.T) {
	w := newTwoPhases(t, servers.SharedMariaDB(t))
	refuses := dtc.ParticipantFuncs{ParticipantID: "payment", PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
		// Only once the other one is prepared.
		eventually(t, "the other one is prepared", func() bool {
			held, _, err := w.effect(b.XID, "orders")
			return err == nil && held
		})
		return dtc.VoteAbort, nil
	}}
	for verb, branches := range map[string][]dtc.Branch{
		"XA ROLLBACK": {{Participant: "orders"}},
		"XA COMMIT":   {{Participant: "orders"}, {Participant: "payment"}},
	} {
		t.Run(verb, func(t *testing.T) {
			c := open(t, meddler{w.db, func(b dtc.Branch) { w.byHand(t, b, verb) }}, refuses)
			branches[0].Payload = statements(mysql.Statement{SQL: "INSERT INTO token VALUES (?)", Args: args("x")})
			id := dtc.TxID(strings.Replace(verb, " ", "-", 1))
			_, _ = c.Execute(t.Context(), id, branches...) // may return before it is known
			eventually(t, "it is heuristic", func() bool {
				o, err := c.Outcome(t.Context(), id)
				return o == dtc.Heuristic && err == nil
			})
		})
	}
}
