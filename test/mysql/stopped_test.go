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
)

// behind returns a participant whose pool reaches the server through a proxy that meddles
// with one statement. What finishes goes past it.
func (w *world) behind(t *testing.T, begins string, do what) (*mysql.Database, *proxy) {
	t.Helper()
	p := newProxy(t, fmt.Sprintf("127.0.0.1:%d", w.server.Port), begins, do)
	pool := openPool(t, connector(t, strings.Replace(w.dsn, fmt.Sprintf("127.0.0.1:%d", w.server.Port), p.addr, 1)))
	db, err := mysql.Open(t.Context(), "orders", pool, w.finish, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db, p
}

// TestLate: a statement that would lead to a prepared branch is on its way, and arrives
// when everybody has given the branch up. Nothing may be left of it.
func TestLate(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	for _, begins := range []string{"XA PREPARE", "XA END", "INSERT INTO dtc_branch (name, participant"} {
		t.Run(begins, func(t *testing.T) {
			db, p := w.behind(t, begins, hold)
			c := open(t, db)
			var id int
			var xid dtc.XID
			err := c.RunWith(t.Context(), dtc.TxID("late"), &dtc.TxOptions{PrepareTimeout: 500 * time.Millisecond},
				func(ctx context.Context, tx *dtc.Tx) error {
					xid = tx.XID()
					return db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) (err error) {
						if id, err = connectionID(ctx, q); err != nil {
							return err
						}
						return insert(ctx, q, xid)
					})
				})
			if !errors.Is(err, dtc.ErrRolledBack) {
				t.Errorf("error %v", err)
			}
			<-p.met
			eventually(t, "it ends while the statement is held up", func() bool { return c.Stats().Unfinished == 0 })
			p.release()
			eventually(t, "the session ends", func() bool {
				return w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id) == 0
			})
			if held, applied, err := w.effect(xid, "orders"); err != nil || held || applied > 0 {
				t.Errorf("held: %v, applied: %d, error: %v", held, applied, err)
			}
			w.clean(t)
		})
	}
}

// TestLost: a connection is lost before or after the server has seen a statement. What
// was prepared is found, and finished once.
func TestLost(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	for _, tt := range []struct {
		begins    string
		do        what
		committed bool
	}{
		{"XA PREPARE", cutBefore, false},
		{"XA PREPARE", cutAfter, true},
		{"XA COMMIT", cutBefore, true},
		{"XA COMMIT", cutAfter, true},
		{"INSERT INTO dtc_branch (name, participant", cutAfter, false},
		{"XA END", cutAfter, false},
	} {
		name := fmt.Sprintf("%s %d", tt.begins, tt.do)
		t.Run(name, func(t *testing.T) {
			db, p := w.behind(t, tt.begins, tt.do)
			c := open(t, db)
			var xid dtc.XID
			err := c.Run(t.Context(), dtc.TxID("lost"), func(ctx context.Context, tx *dtc.Tx) error {
				xid = tx.XID()
				return db.Do(ctx, tx, func(ctx context.Context, q *mysql.Tx) error { return insert(ctx, q, xid) })
			})
			if (err == nil) != tt.committed {
				t.Errorf("error %v, want committed: %v", err, tt.committed)
			}
			<-p.met
			eventually(t, "it ends", func() bool { return c.Stats().Unfinished == 0 })
			if held, applied, err := w.effect(xid, "orders"); err != nil || held || (applied == 1) != tt.committed {
				t.Errorf("held: %v, applied: %d, error: %v", held, applied, err)
			}
			w.clean(t)
		})
	}
}

// TestOKIsNoProof: the server says OK to a commit from another session and has not
// committed, as it may while a session leaves. Here it was asked something else.
func TestOKIsNoProof(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := newProxy(t, fmt.Sprintf("127.0.0.1:%d", w.server.Port), "XA COMMIT", lie)
	finish := connector(t, strings.Replace(w.dsn, fmt.Sprintf("127.0.0.1:%d", w.server.Port), p.addr, 1))
	db, err := mysql.Open(t.Context(), "orders", w.pool, finish, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b := w.branch(1)
	if v, err := w.db.Prepare(t.Context(), b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	if err := db.Commit(t.Context(), b); err != nil {
		t.Errorf("commit: %v", err)
	}
	<-p.met
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
	w.exec(t, fmt.Sprintf("KILL CONNECTION %d", w.session(t, b)))
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
	w := newWorld(t, servers.SharedMariaDB(t))
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
