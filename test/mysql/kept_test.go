package mysql_test

import (
	"context"
	"errors"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
)

// TestVisibleBeforeKept: the fact that makes a reader wait. A commit can be seen while its
// own session still waits for the disk, and then be lost.
func TestVisibleBeforeKept(t *testing.T) {
	h := newHolder(t)
	w := newWorld(t, h.Server)
	b := w.branch(1)
	settled(t, w.db, w.branch(9)) // which raises the fence
	h.hold(t)
	answer := w.committing(t, b, func(ctx context.Context) error { return votes(w.db.CommitOnePhase(ctx, b)) })
	h.crash(t, answer)
	w.committed(t, b.XID, false, "MariaDB has changed, and need not be waited for")
	if o := settled(t, w.db, b); o != dtc.RolledBack {
		t.Errorf("settled as %v", o)
	}
}

// committing begins a commit that does not reach the disk, and returns when it can be seen.
func (w *world) committing(t *testing.T, b dtc.Branch, commit func(ctx context.Context) error) <-chan error {
	t.Helper()
	answer := make(chan error, 1)
	ctx := background(t)
	go func() { answer <- commit(ctx) }()
	eventually(t, "a commit is visible before it is on the disk: else MariaDB has changed", func() bool {
		return w.count(t, "SELECT COUNT(*) FROM token WHERE xid = ?", b.XID.String()) == 1
	})
	return answer
}

// votes returns an error unless the vote is to commit.
func votes(v dtc.Vote, err error) error {
	if err == nil && v != dtc.VoteCommit {
		err = errors.New("voted " + v.String())
	}
	return err
}

// asks are how another process may learn that a branch was committed: they return nil if
// they say so.
var asks = []struct {
	name string
	two  bool // phases
	ask  func(ctx context.Context, db *mysql.Database, b dtc.Branch) error
}{
	{"settle", false, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		o, err := db.Settle(ctx, b)
		if err == nil && o != dtc.Committed {
			err = errors.New("settled as " + o.String())
		}
		return err
	}},
	{"commit in one phase again", false, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		b.Attempt = 2
		return votes(db.CommitOnePhase(ctx, b))
	}},
	{"commit the id in one phase again", false, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		b.XID.Seq += 1000
		return votes(db.CommitOnePhase(ctx, b))
	}},
	{"prove", false, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		x, err := db.Prove(ctx, b.XID.Log, b.TxID)
		if err == nil && x != b.XID {
			err = errors.New("proved " + x.String())
		}
		return err
	}},
	{"commit", true, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error { return db.Commit(ctx, b) }},
	{"prepare again", true, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		return votes(db.Prepare(ctx, b))
	}},
	{"prepare what was done elsewhere", true, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		b.Payload = nil
		return votes(db.Prepare(ctx, b))
	}},
	{"roll back", true, func(ctx context.Context, db *mysql.Database, b dtc.Branch) error {
		err := db.Rollback(ctx, b)
		var f *dtc.FinishedError
		if errors.As(err, &f) && f.Outcome == dtc.Committed {
			return nil
		}
		return errors.Join(err, errors.New("not committed"))
	}},
}

// TestBelievesWhatIsKept: while a commit is visible and not on the disk nobody says that it
// has happened. If it then is lost, the branch is not done, or prepared again.
func TestBelievesWhatIsKept(t *testing.T) {
	h := newHolder(t)
	w := newWorld(t, h.Server)
	other := w.participant(t, "orders", nil)
	seq := uint64(0)
	for _, lost := range []bool{false, true} {
		for _, a := range asks {
			if lost && a.name != "settle" && a.name != "commit" {
				continue
			}
			t.Run(a.name+map[bool]string{true: ", and it is lost"}[lost], func(t *testing.T) {
				seq += 10
				b := w.branch(seq)
				w.believes(t, h, other, b, lost, a.two, a.ask)
			})
		}
	}
	w.clean(t)
}

func (w *world) believes(t *testing.T, h *holder, other *mysql.Database, b dtc.Branch, lost, two bool, ask func(context.Context, *mysql.Database, dtc.Branch) error) {
	ctx := background(t)
	for i, db := range []*mysql.Database{w.db, other} { // the fence is raised, and waits for nothing below
		settled(t, db, w.branch(b.XID.Seq+uint64(i)+1))
	}
	commit := func(ctx context.Context) error { return votes(w.db.CommitOnePhase(ctx, b)) }
	if two {
		if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
		commit = func(ctx context.Context) error { return w.db.Commit(ctx, b) }
	}
	h.hold(t)
	answer := w.committing(t, b, commit)
	told := make(chan error, 1)
	go func() { told <- ask(ctx, other, b) }()
	eventually(t, "it waits for a commit of its own", func() bool {
		if len(told) > 0 {
			t.Fatalf("it was told before the server has kept it: %v", <-told)
		}
		return w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO %dtc_low_water %'") == 1
	})
	if !lost {
		h.release(t)
		if err := errors.Join(<-answer, <-told); err != nil {
			t.Error(err)
		}
		w.committed(t, b.XID, true, "kept")
		return
	}
	h.crash(t, answer, told)
	held, applied, err := w.effect(b.XID, "orders")
	if err != nil || held != two || applied != 0 {
		t.Errorf("after the crash: held: %v, applied: %d, error: %v", held, applied, err)
	}
	if !two {
		if o := settled(t, other, b); o != dtc.RolledBack {
			t.Errorf("settled as %v", o)
		}
		return
	}
	if err := poll(ctx, func() (bool, error) { return other.Commit(ctx, b) == nil, nil }); err != nil {
		t.Error(err)
	}
	w.committed(t, b.XID, true, "committed again")
}

// TestFenceIsKept: the fence of another process is not believed while a crash can lower it.
func TestFenceIsKept(t *testing.T) {
	h := newHolder(t)
	w := newWorld(t, h.Server)
	ctx := background(t)
	settled(t, w.db, w.branch(1))
	h.hold(t)
	var answers []<-chan error
	for i := range 2 {
		db, answer := w.participant(t, "orders", nil), make(chan error, 1)
		next := later(w.branch(2), uint64(i))
		go func() {
			_, err := db.Settle(ctx, next)
			answer <- err
		}()
		answers = append(answers, answer)
		eventually(t, "it waits", func() bool {
			if len(answer) > 0 {
				t.Fatalf("answered: %v", <-answer)
			}
			return w.count(t, `SELECT (SELECT MAX(incarnation) FROM dtc_fence) = 2 AND COUNT(*) = ? FROM information_schema.PROCESSLIST
				WHERE INFO LIKE 'UPDATE %dtc_fence %' OR INFO LIKE 'INSERT INTO %dtc_low_water %'`, i+1) == 1
		})
	}
	h.crash(t, answers...)
	b := w.branch(3)
	if err := votes(w.db.CommitOnePhase(ctx, b)); err != nil {
		t.Errorf("the fence has not been lost: %v", err)
	}
	w.committed(t, b.XID, true, "nothing of a later incarnation was answered")
}
