package mysql_test

import (
	"context"
	"errors"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// atOnePhase is the message that commits in one phase.
const atOnePhase = "ONE PHASE"

// settled settles until there is an answer.
func settled(t *testing.T, db *mysql.Database, b dtc.Branch) (o dtc.Outcome) {
	t.Helper()
	b.Attempt = 0
	if err := poll(t.Context(), func() (bool, error) {
		var err error
		b.Attempt++
		o, err = db.Settle(t.Context(), b)
		if err != nil && !errors.Is(err, dtc.ErrNoAnswer) {
			return false, err
		}
		return err == nil, nil
	}); err != nil {
		t.Fatalf("settle %s: %v", b.XID, err)
	}
	return o
}

// committed checks that a branch has its effect once, or has none.
func (w *world) committed(t *testing.T, x dtc.XID, want bool, when string) {
	t.Helper()
	held, n, err := w.effect(x, "orders")
	if err != nil || held || n > 1 || (n == 1) != want {
		t.Errorf("%s: held: %v, applied: %d, error: %v; want it to be committed: %v", when, held, n, err, want)
	}
}

// TestOneWindows loses the connection at the message that commits in one phase, before the
// server has seen it and after it has done it, for good or for a while.
func TestOneWindows(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	for i, f := range wire.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			p := w.through(t, wire.MySQL)
			b := w.branch(uint64(i + 1))
			trap := p.proxy.Arm(atOnePhase, 1, f)
			soon, cancel := context.WithCancel(background(t))
			defer cancel()
			answer := make(chan error, 1)
			go func() {
				_, err := p.db.CommitOnePhase(soon, b)
				answer <- err
			}()
			<-trap.Hit()
			cancel()
			if err := <-answer; !errors.Is(err, dtc.ErrNoAnswer) {
				t.Fatalf("a call whose connection was lost: %v, want no answer", err)
			}
			want := dtc.RolledBack
			if f == wire.CutReply || f == wire.StallReply {
				want = dtc.Committed
			}
			if o := settled(t, p.db, b); o != want {
				t.Errorf("settled as %v, want %v", o, want)
			}
			trap.Release()
			<-trap.Done()
			// Who comes late has come before this: it takes the row that it meets.
			if v, err := p.db.CommitOnePhase(background(t), b); (v == dtc.VoteCommit) != (want == dtc.Committed) || errors.Is(err, dtc.ErrNoAnswer) {
				t.Errorf("afterwards: %v, %v", v, err)
			}
			w.committed(t, b.XID, want == dtc.Committed, "settled as "+want.String())
		})
	}
	w.clean(t)
}

// TestOneServerKilled kills the server before it has seen the commit, and after it has done
// it.
func TestOneServerKilled(t *testing.T) {
	server := servers.MariaDB(t)
	w := newWorld(t, server)
	for i, f := range []wire.Fault{wire.StallRequest, wire.StallReply} {
		p := w.through(t, wire.MySQL)
		b := w.branch(uint64(i + 1))
		trap := p.proxy.Arm(atOnePhase, 1, f)
		answer := make(chan error, 1)
		go func() {
			_, err := p.db.CommitOnePhase(background(t), b)
			answer <- err
		}()
		<-trap.Hit()
		server.Kill(t)
		trap.Release()
		if err := <-answer; !errors.Is(err, dtc.ErrNoAnswer) && f == wire.StallRequest {
			t.Errorf("%s: %v, want no answer", f, err)
		}
		server.Start(t)
		want := dtc.RolledBack
		if f == wire.StallReply {
			want = dtc.Committed
		}
		if o := settled(t, w.db, b); o != want {
			t.Errorf("%s: settled as %v, want %v", f, o, want)
		}
		w.committed(t, b.XID, want == dtc.Committed, f.String())
	}
}

// TestOneRefusedAlone: what is refused is rolled back by the server, without its client.
func TestOneRefusedAlone(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, wire.MySQL)
	b := w.branch(1)
	if o := settled(t, w.db, b); o != dtc.RolledBack {
		t.Fatalf("settled as %v", o)
	}
	trap := p.proxy.Arm(atOnePhase, 1, wire.StallReply)
	answer := make(chan error, 1)
	go func() {
		_, err := p.db.CommitOnePhase(background(t), b)
		answer <- err
	}()
	<-trap.Hit()
	// Nothing has it locked: neither what it did, nor the seal that it met.
	for _, sql := range []string{"SELECT xid FROM token FOR UPDATE NOWAIT", "SELECT tx_id FROM dtc_once FOR UPDATE NOWAIT"} {
		if _, err := w.admin.Exec(sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	trap.Release()
	if err := <-answer; err == nil {
		t.Error("it was not refused")
	}
	w.committed(t, b.XID, false, "refused")
}
