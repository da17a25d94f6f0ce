package mysql_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// later is a branch of a later incarnation.
func later(b dtc.Branch, seq uint64) dtc.Branch {
	b.XID.Incarnation.Number++
	b.XID.Seq = seq
	return b
}

// TestOneLate: a commit that was under way when its coordinator died arrives after another
// process has answered the next incarnation.
func TestOneLate(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, wire.MySQL)
	b := w.branch(1)
	trap := p.proxy.Arm(atOnePhase, 1, wire.StallRequest)
	type answer struct {
		v   dtc.Vote
		err error
	}
	late := make(chan answer, 1)
	go func() {
		v, err := p.db.CommitOnePhase(background(t), b)
		late <- answer{v, err}
	}()
	<-trap.Hit()
	next := later(w.branch(2), 1)
	if v, err := w.db.Prepare(background(t), next); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	if x, err := w.db.Prove(background(t), b.XID.Log, b.TxID); !x.IsZero() || err != nil {
		t.Errorf("proof of what has not happened: %v, %v", x, err)
	}
	trap.Release()
	if a := <-late; a.v != dtc.VoteAbort || a.err == nil || errors.Is(a.err, dtc.ErrNoAnswer) {
		t.Errorf("a late commit of an earlier incarnation: %v, %v", a.v, a.err)
	}
	w.committed(t, b.XID, false, "late")
	if err := w.db.Rollback(background(t), next); err != nil {
		t.Error(err)
	}
	w.clean(t)
}

// TestOneFenceWaits: the next incarnation is not answered while a commit of an earlier one
// is being done, which has passed the fence.
func TestOneFenceWaits(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	// In this isolation the server locks nothing that it is not told to.
	db := w.participant(t, "orders", &mysql.Options{Isolation: sql.LevelReadCommitted})
	first, b := w.branch(1), w.branch(2)
	if v, err := db.CommitOnePhase(ctx, first); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	held, err := w.admin.Begin() // holds the commit up after the fence
	if err != nil {
		t.Fatal(err)
	}
	defer held.Rollback()
	if _, err := held.Exec("INSERT INTO dtc_once SELECT participant, log, ?, incarnation, nonce, seq, request, state, ended FROM dtc_once", string(b.TxID)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		v, err := db.CommitOnePhase(ctx, b)
		if v != dtc.VoteCommit {
			err = errors.Join(err, errors.New("not committed"))
		}
		done <- err
	}()
	eventually(t, "the commit waits", func() bool {
		return w.count(t, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_ROW_LOCK_CURRENT_WAITS'") == 1
	})
	other := w.participant(t, "orders", nil)
	if v, err := other.CommitOnePhase(ctx, later(w.branch(3), 1)); !errors.Is(err, dtc.ErrNoAnswer) {
		t.Errorf("the next incarnation was answered %v, %v while an earlier commit was under way", v, err)
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if o := settled(t, other, later(w.branch(3), 1)); o != dtc.RolledBack {
		t.Errorf("settled as %v", o)
	}
	w.committed(t, b.XID, true, "passed before the fence was raised")
}

// TestOneAfterSettle: what is settled stays so for a call that is still under way elsewhere.
func TestOneAfterSettle(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, wire.MySQL)
	b := w.branch(1)
	trap := p.proxy.Arm(atOnePhase, 1, wire.StallRequest)
	late := make(chan dtc.Vote, 1)
	go func() {
		v, _ := p.db.CommitOnePhase(background(t), b)
		late <- v
	}()
	<-trap.Hit()
	if o := settled(t, w.db, b); o != dtc.RolledBack {
		t.Errorf("settled as %v", o)
	}
	trap.Release()
	if v := <-late; v != dtc.VoteAbort {
		t.Errorf("a late call was answered %v", v)
	}
	w.committed(t, b.XID, false, "settled")
	w.clean(t)
}

// TestOneRemembers: evidence goes when it is below low water and old enough, and then
// nobody says that there was none.
func TestOneRemembers(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	ctx := background(t)
	old, shut, young, open := w.branch(1), w.branch(2), w.branch(3), w.branch(4)
	for _, b := range []dtc.Branch{old, young} {
		if v, err := w.db.CommitOnePhase(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
	}
	if o := settled(t, w.db, shut); o != dtc.RolledBack {
		t.Fatal(o)
	}
	w.exec(t, "UPDATE dtc_once SET ended = ended - INTERVAL 2 HOUR WHERE seq = 1")
	prune := func(low uint64, want int) {
		t.Helper()
		b := w.branch(9)
		b.LowWater = w.branch(low).XID
		if o := settled(t, w.db, b); o != dtc.RolledBack {
			t.Fatal(o)
		}
		if n, err := w.db.Prune(ctx); n != want || err != nil {
			t.Errorf("below %d: dropped %d, error %v, want %d", low, n, err, want)
		}
	}
	prune(1, 0)
	working, err := w.admin.Begin() // a branch in work, whose row nobody waits for
	if err != nil {
		t.Fatal(err)
	}
	defer working.Rollback()
	if _, err := working.Exec("INSERT INTO dtc_once VALUES ('orders', ?, 'working', 1, 7, 1, NULL, 'committed', UTC_TIMESTAMP())", w.log.String()); err != nil {
		t.Fatal(err)
	}
	prune(5, 2)
	for _, tt := range []struct {
		b    dtc.Branch
		want dtc.Outcome
	}{{old, dtc.OutcomeUnknown}, {young, dtc.Committed}, {shut, dtc.RolledBack}, {open, dtc.RolledBack}} {
		if o := settled(t, w.db, tt.b); o != tt.want {
			t.Errorf("%s: settled as %v, want %v", tt.b.TxID, o, tt.want)
		}
	}
	if err := working.Rollback(); err != nil {
		t.Fatal(err)
	}
	prune(5, 2) // what was sealed just now
	late := func(b dtc.Branch, refused bool, when string) {
		t.Helper()
		if v, err := w.db.CommitOnePhase(ctx, b); v != dtc.VoteAbort || err == nil || errors.Is(err, dtc.ErrNoAnswer) || errors.Is(err, dtc.Refuse(nil)) != refused {
			t.Errorf("%s, %s: %v, %v; want a refusal: %v", b.TxID, when, v, err, refused)
		}
	}
	late(shut, true, "below low water")
	late(open, true, "below low water")
	// A refusal would say that it was not committed before.
	fails, none := old, int64(0)
	fails.Payload = statements(mysql.Statement{SQL: "INSERT INTO token (xid) VALUES ('fails')", Rows: &none})
	late(old, false, "below low water")
	late(fails, false, "with a statement that fails")
	if o := settled(t, w.db, later(w.branch(5), 1)); o != dtc.RolledBack {
		t.Fatal(o)
	}
	late(old, false, "of an earlier incarnation")
	if o := settled(t, w.db, old); o != dtc.OutcomeUnknown {
		t.Errorf("settled as %v", o)
	}
	w.committed(t, old.XID, true, "old")
	w.committed(t, shut.XID, false, "shut")
	w.committed(t, open.XID, false, "open")
}
