package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// pair is a primary with one standby, and a participant behind an address that moves.
type pair struct {
	*world
	front   *proxied
	standby *servers.Server
}

func newPair(t *testing.T, synchronous bool) *pair {
	t.Helper()
	w := newWorld(t, servers.Postgres(t, "wal_receiver_status_interval=1s"))
	p, err := w.proxy(t, "orders", "")
	if err != nil {
		t.Fatal(err)
	}
	all := &pair{world: w, front: p, standby: w.server.Standby(t, "standby")}
	if synchronous {
		w.exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
		w.exec(t, "SELECT pg_reload_conf()")
		eventually(t, "the standby is synchronous", func() bool {
			return w.count(t, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1
		})
	}
	return all
}

// fail kills the primary, promotes the standby and moves the address to it.
func (p *pair) fail(t *testing.T) {
	p.server.Kill(t)
	if _, err := p.standby.Open(t, "").Exec("SELECT pg_promote()"); err != nil {
		t.Error(err)
	}
	p.move(t, p.standby)
	tally.Add(t, "databases", "PostgreSQL: failovers to a standby", 1, 1)
}

// move moves the address, and what the world looks at, to another server.
func (p *pair) move(t *testing.T, to *servers.Server) {
	p.front.proxy.Target(to.Addr())
	p.front.proxy.Cut()
	p.server, p.dsn = to, to.DSN(p.name)
	p.pool = openPool(t, p.dsn)
}

// run runs one transaction of statements, with another participant that does something when
// the branch is prepared and its vote is known, and votes to commit.
func (p *pair) run(t *testing.T, do func(xid dtc.XID)) (*dtc.Coordinator, dtc.XID, error) {
	var c *dtc.Coordinator
	var gid string
	var xid dtc.XID
	list := []dtc.Participant{p.front.db}
	if do != nil {
		list = append(list, p.between(&gid, dtc.VoteCommit, func() {
			eventually(t, "the vote is known", func() bool {
				info, err := c.Transaction("failover")
				return err == nil && slices.ContainsFunc(info.Branches, func(b dtc.BranchInfo) bool { return b.Participant == "orders" && b.Voted })
			})
			do(xid)
		}))
	}
	var err error
	c, err = dtc.Open(t.TempDir(), &dtc.Config{Participants: list, SweepInterval: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	err = c.RunWith(t.Context(), "failover", &dtc.TxOptions{PrepareTimeout: 20 * time.Second}, func(ctx context.Context, tx *dtc.Tx) error {
		xid, gid = tx.XID(), postgres.Name(tx.XID(), "orders")
		if do != nil {
			if err := tx.Enlist("other", nil); err != nil {
				return err
			}
		}
		return ways["Statements"](ctx, p.front, tx)
	})
	return c, xid, err
}

// TestFailoverSynchronous: what was prepared when a synchronous standby took over is there,
// and ends as was decided.
func TestFailoverSynchronous(t *testing.T) {
	t.Parallel()
	p := newPair(t, true)
	c, xid, err := p.run(t, func(dtc.XID) { p.fail(t) })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.truth(c, "failover", xid, true); err != nil {
		t.Error(err)
	}
}

// TestFailoverAsynchronous: the standby that takes over has not seen the prepare. The branch
// is lost, against the decision, and that is shown; it is not called committed.
func TestFailoverAsynchronous(t *testing.T) {
	t.Parallel()
	p := newPair(t, false)
	p.standby.Stop(t)
	c, xid, err := p.run(t, func(dtc.XID) {
		p.server.Kill(t) // before the standby can ask for what it has missed
		p.standby.Start(t)
		p.fail(t)
	})
	var heuristic *dtc.HeuristicError
	if err != nil && !errors.As(err, &heuristic) { // it was told before, or after
		t.Errorf("error %v", err)
	}
	eventually(t, "the hazard is shown", func() bool {
		info, err := c.Transaction("failover")
		return err == nil && info.State == "heuristic"
	})
	if o, err := c.Outcome(t.Context(), "failover"); o != dtc.Heuristic {
		t.Errorf("outcome %v, %v", o, err)
	}
	if n := p.count(t, "SELECT count(*) FROM token WHERE xid = $1", xid.String()); n != 0 {
		t.Errorf("%d rows: nothing was lost, so nothing was tried", n)
	}
}

// TestPrepareWithoutStandby: the synchronous standby is away, so a prepare is on the primary,
// where it is listed, and nowhere else. It is no vote: a failover would lose it.
func TestPrepareWithoutStandby(t *testing.T) {
	t.Parallel()
	p := newPair(t, true)
	db, err := postgres.Open(t.Context(), "orders", openPool(t, p.front.dsn), &postgres.Options{TwoPhases: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	p.front.db = db
	var xid dtc.XID
	c, err := dtc.Open(t.TempDir(), &dtc.Config{Participants: []dtc.Participant{p.front.db}, SweepInterval: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Run(t.Context(), "before", func(ctx context.Context, tx *dtc.Tx) error { return ways["Do"](ctx, p.front, tx) }); err != nil {
		t.Fatal(err)
	}
	p.standby.Stop(t)
	for i, way := range []string{"Do", "Statements"} {
		err := c.RunWith(t.Context(), dtc.TxID(fmt.Sprintf("away-%d", i)), &dtc.TxOptions{PrepareTimeout: 3 * time.Second, CompletionWait: -1},
			func(ctx context.Context, tx *dtc.Tx) error {
				xid = tx.XID()
				return ways[way](ctx, p.front, tx)
			})
		if !errors.Is(err, dtc.ErrRolledBack) {
			t.Errorf("%s: error %v", way, err)
		}
	}
	p.standby.Start(t)
	eventually(t, "all end when the standby is back", func() bool { return c.Stats().Unfinished == 0 })
	if err := p.truth(c, "away-1", xid, false); err != nil {
		t.Error(err)
	}
}

// TestStandby: a standby lists nothing, whatever there is. Neither that nor anything else it
// says is believed.
func TestStandby(t *testing.T) {
	t.Parallel()
	p := newPair(t, false)
	_, err := postgres.Open(t.Context(), "orders", openPool(t, p.standby.DSN(p.name)), nil)
	if !errors.Is(err, postgres.ErrUnusable) || !strings.Contains(err.Error(), "connect to the primary") {
		t.Errorf("opened at a standby: %v", err)
	}
	primary := p.server
	c, xid, err := p.run(t, func(xid dtc.XID) {
		p.move(t, p.standby)
		eventually(t, "the standby is asked", func() bool { // not over a connection that is cut
			list, err := p.front.db.InDoubt(t.Context(), xid.Log)
			if err == nil {
				t.Errorf("the standby's list is believed: %v", list)
			}
			return err == nil || strings.Contains(err.Error(), "is a standby")
		})
	})
	if err != nil { // decided, and not finished
		t.Fatal(err)
	}
	eventually(t, "the commit is tried at the standby", func() bool {
		info, err := c.Transaction("failover")
		return err == nil && len(info.Branches) == 2 && info.Branches[1].Attempts > 2
	})
	if info, err := c.Transaction("failover"); err != nil || info.State != "committing" {
		t.Errorf("%+v, %v", info, err)
	}
	p.move(t, primary)
	if err := p.truth(c, "failover", xid, true); err != nil {
		t.Error(err)
	}
}
