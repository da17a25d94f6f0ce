package postgres_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// series names branches of one log whose work is a row with their own number.
type series struct {
	log         dtc.LogID
	incarnation uint32
	seq         uint64
}

func newSeries() *series {
	s := &series{incarnation: 1}
	_, _ = rand.Read(s.log[:]) // never fails
	return s
}

func (s *series) branch(id string) dtc.Branch {
	s.seq++
	x := dtc.XID{Log: s.log, Incarnation: dtc.Incarnation{Number: s.incarnation, Nonce: 4_000_000_000 + s.incarnation}, Seq: s.seq}
	return dtc.Branch{Participant: "orders", XID: x, TxID: dtc.TxID(id), Fingerprint: [16]byte{1}, Attempt: 1, Payload: rowOf(id)}
}

func rowOf(id string) []byte {
	return statements(postgres.Statement{SQL: "INSERT INTO token (xid) VALUES ($1)", Args: args(id)})
}

func (w *world) rows(t *testing.T, id string) int {
	t.Helper()
	return w.count(t, "SELECT count(*) FROM token WHERE xid = $1", id)
}

func mustCommitOnce(t *testing.T, db *postgres.Database, b dtc.Branch) {
	t.Helper()
	if v, err := db.CommitOnePhase(t.Context(), b); v != dtc.VoteCommit || err != nil {
		t.Fatalf("%s: vote %v, error: %v", b.TxID, v, err)
	}
}

func mustSettle(t *testing.T, db *postgres.Database, b dtc.Branch, want dtc.Outcome) {
	t.Helper()
	if o, err := db.Settle(t.Context(), b); o != want || err != nil {
		t.Errorf("%s is settled as %v, %v; want %v", b.TxID, o, err, want)
	}
}

// TestCanOnePhase: who takes two phases.
func TestCanOnePhase(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	for _, tt := range []struct {
		payload string
		want    bool
	}{{"", true}, {string(rowOf("x")), true}, {`{"adopted":true}`, false}, {`{"unknown":1}`, false}} {
		if got := w.one.CanOnePhase(dtc.Branch{Payload: []byte(tt.payload)}); got != tt.want {
			t.Errorf("%q: %v", tt.payload, got)
		}
	}
	if w.participant(t, "two", &postgres.Options{TwoPhases: true}).CanOnePhase(dtc.Branch{Payload: rowOf("x")}) {
		t.Error("with TwoPhases one is enough")
	}
}

// TestRepeatedWork: work that fails when it is done twice is not called a failure if it was
// done once, whether the statements go in one message, in two, or one by one.
func TestRepeatedWork(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	w.exec(t, "CREATE UNIQUE INDEX ON token (xid)")
	one := int64(1)
	s := newSeries()
	for name, list := range map[string][]postgres.Statement{
		"one message":  {{SQL: "INSERT INTO token (xid) VALUES ($1)"}},
		"two messages": {{SQL: "INSERT INTO token (xid) VALUES ($1)", Rows: &one}},
		"one by one":   {{SQL: "/* */ INSERT INTO token (xid) VALUES ($1)"}},
	} {
		for mode, db := range map[string]*postgres.Database{"keeps": w.one, "exec": w.mode(t, "exec")} {
			id := name + ", " + mode
			list[0].Args = args(id)
			first := s.branch(id)
			first.Payload = statements(list...)
			mustCommitOnce(t, db, first)
			for _, attempt := range []int{1, 2} {
				b := first
				b.Attempt = attempt
				mustCommitOnce(t, db, b)
				again := s.branch(id)
				again.Payload, again.Attempt = append([]byte(" "), first.Payload...), attempt
				mustCommitOnce(t, db, again)
				another := s.branch(id)
				another.Payload, another.Fingerprint = rowOf("another"), [16]byte{2}
				if v, err := db.CommitOnePhase(t.Context(), another); v != dtc.VoteAbort || !errors.Is(err, dtc.ErrTxConflict) {
					t.Errorf("%s, another payload: %v, %v", id, v, err)
				}
			}
			if n := w.rows(t, id); n != 1 {
				t.Errorf("%s: %d rows", id, n)
			}
		}
	}
	w.clean(t)
}

// mode opens the participant with a pool of another mode.
func (w *world) mode(t *testing.T, mode string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(t.Context(), "orders", openPool(t, w.dsn+"&default_query_exec_mode="+mode), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// TestRefusedOnce: what fails in a statement, in its rows, or when it is committed, has no
// effect, and cannot be committed later.
func TestRefusedOnce(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	w.exec(t, "CREATE TABLE part (id int PRIMARY KEY); CREATE TABLE whole (part int REFERENCES part DEFERRABLE INITIALLY DEFERRED)")
	s := newSeries()
	two := int64(2)
	for i, tt := range []struct {
		text string
		list []postgres.Statement
	}{
		{"statement 2 affected 1 rows; it must affect 2", []postgres.Statement{{SQL: "SELECT 1"}, {SQL: "INSERT INTO token VALUES ($1)", Rows: &two}, {SQL: "SELECT 1/0"}}},
		{"statement 2: division by zero", []postgres.Statement{{SQL: "INSERT INTO token VALUES ($1)"}, {SQL: "SELECT 1/0"}, {SQL: "SELECT 1", Rows: &two}}},
		{"statement 2: division by zero", []postgres.Statement{{SQL: "INSERT INTO token VALUES ($1)"}, {SQL: "SELECT 1/0"}}},
		{"statement 1 ends the transaction", []postgres.Statement{{SQL: "COMMIT"}, {SQL: "INSERT INTO token VALUES ($1)"}}},
		{"23503", []postgres.Statement{{SQL: "INSERT INTO token VALUES ($1)"}, {SQL: "INSERT INTO whole VALUES (7)"}}},
		{"23503", []postgres.Statement{{SQL: "INSERT INTO token VALUES ($1)"}, {SQL: "INSERT INTO whole VALUES (7)", Rows: nil}, {SQL: "/**/ SELECT 1"}}},
	} {
		id := fmt.Sprintf("refused-%d", i)
		for j := range tt.list {
			if strings.Contains(tt.list[j].SQL, "$1") {
				tt.list[j].Args = args(id)
			}
		}
		b := s.branch(id)
		b.Payload = statements(tt.list...)
		v, err := w.one.CommitOnePhase(t.Context(), b)
		if v != dtc.VoteAbort || err == nil || errors.Is(err, dtc.ErrNoAnswer) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, %v; want an error that says %q", id, v, err, tt.text)
		}
		b.Payload = rowOf(id)
		if v, err := w.one.CommitOnePhase(t.Context(), b); v != dtc.VoteAbort {
			t.Errorf("%s, later: %v, %v", id, v, err)
		}
		mustSettle(t, w.one, b, dtc.RolledBack)
		if n := w.rows(t, id); n != 0 {
			t.Errorf("%s: %d rows", id, n)
		}
	}
	w.clean(t)
}

// TestForgetOnce: evidence goes when low water has passed it and the time is over, and then
// nobody guesses.
func TestForgetOnce(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	db := w.participant(t, "orders", &postgres.Options{RememberOnce: time.Nanosecond, PruneEvery: -1})
	s := newSeries()
	shut, done, after := s.branch("shut"), s.branch("done"), s.branch("after")
	mustSettle(t, db, shut, dtc.RolledBack)
	mustCommitOnce(t, db, done)
	if n, err := db.Prune(t.Context()); n != 0 || err != nil {
		t.Errorf("without low water %d rows are dropped, %v", n, err)
	}
	after.LowWater = after.XID
	if err := db.Rollback(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Prune(t.Context()); n != 2 || err != nil {
		t.Errorf("%d rows are dropped, %v; want 2", n, err)
	}
	for range 2 { // the first time leaves something behind
		mustSettle(t, db, done, dtc.OutcomeUnknown)
	}
	if x, err := db.Prove(t.Context(), s.log, "done"); !x.IsZero() || err != nil {
		t.Errorf("proof %v, %v", x, err)
	}
	for _, b := range []dtc.Branch{shut, done} {
		if v, err := db.CommitOnePhase(t.Context(), b); v != dtc.VoteAbort || err == nil {
			t.Errorf("%s, below low water: %v, %v", b.TxID, v, err)
		}
	}
	mustSettle(t, db, s.branch("never-came"), dtc.RolledBack)
	mustCommitOnce(t, db, s.branch("done"))
	if n := w.rows(t, "done"); n != 2 {
		t.Errorf("%d rows: the id was forgotten, so it is another transaction's", n)
	}
}

// TestPreparedAfterOnce: an id that an earlier incarnation has committed in one phase is not
// prepared. Within one incarnation nobody looks.
func TestPreparedAfterOnce(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	s := newSeries()
	mustCommitOnce(t, w.one, s.branch("done"))
	s.incarnation++
	if v, err := w.one.Prepare(t.Context(), s.branch("done")); v != dtc.VoteReadOnly || err != nil {
		t.Errorf("prepare: %v, %v", v, err)
	}
	b := s.branch("done")
	b.Payload, b.Fingerprint = rowOf("another"), [16]byte{2}
	if v, err := w.one.Prepare(t.Context(), b); v != dtc.VoteAbort || !errors.Is(err, dtc.ErrTxConflict) {
		t.Errorf("prepare of another payload: %v, %v", v, err)
	}
	if n := w.rows(t, "done") + 10*w.rows(t, "another"); n != 1 {
		t.Errorf("rows: %d", n)
	}
	w.clean(t)
}

// TestNewTables: tables of an earlier version lack two. They are made while a branch is in
// doubt, which locks what was there; or it is said that they are missing.
func TestNewTables(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	b := newSeries().branch("in-doubt")
	if v, err := w.one.Prepare(t.Context(), b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	w.exec(t, "DROP TABLE dtc_once, dtc_fence")
	_, err := postgres.Open(t.Context(), "orders", w.pool, &postgres.Options{NoCreate: true})
	if err == nil || !strings.Contains(err.Error(), "dtc_once, dtc_fence") {
		t.Errorf("error %v", err)
	}
	db := w.participant(t, "orders", nil)
	if err := db.Commit(t.Context(), b); err != nil {
		t.Error(err)
	}
	if n := w.rows(t, "in-doubt"); n != 1 {
		t.Errorf("%d rows", n)
	}
}
