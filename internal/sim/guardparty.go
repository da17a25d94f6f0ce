package sim

import (
	"context"
	"database/sql"
	"io"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/sim/simdb"
)

// books is a participant over a database: the guard that ships, and work that leaves
// a token for everything it does.
type books struct {
	*party
	db    *simdb.DB
	pool  *sql.DB
	pools []*sql.DB // of processes that have died
	opts  guard.Options
}

const guardPrefix = "dtc_guard"

func newGuardParty(w *world, id string, prune int) *party {
	b := &books{party: &party{w: w, id: id, listing: true}, db: simdb.New(simdb.Tokens)}
	b.opts = guard.Options{PruneEvery: prune, KeepPayload: prune%2 == 0}
	b.books = b
	b.crash, b.restart = b.fall, b.rise
	b.state = func(x dtc.XID) dtctest.State { return guardState(b.db.State(guardPrefix, id, x.String())) }
	b.prepared = func() (list []dtc.XID) {
		for _, r := range b.db.Branches(guardPrefix) {
			if r.State == string(dtctest.Prepared) {
				x, err := dtc.ParseXID(r.XID)
				if err != nil {
					w.violation("guard", "%s keeps %q", id, r.XID)
				}
				list = append(list, x)
			}
		}
		return list
	}
	b.db.Step = b.step
	b.begin()
	b.rise()
	return b.party
}

func guardState(s string) dtctest.State { return dtctest.State(s) }

// rise starts the process of the participant.
func (b *books) rise() {
	b.db.Restart()
	b.pool = simdb.Open(b.db)
	b.pools = append(b.pools, b.pool)
	g, err := guard.New(context.Background(), b.id, b.pool, guard.PostgreSQL, guard.Funcs{
		Prepare: b.prepare, Commit: b.commit, Rollback: b.rollback,
	}, &b.opts)
	if err != nil {
		b.w.violation("guard", "%s does not start: %v", b.id, err)
		return
	}
	b.server, b.lister = g, g
}

// fall ends the process; now and then the database falls with it.
func (b *books) fall() {
	if b.w.chance(0.5) {
		b.db.Crash()
	}
	simdb.Kill(b.pool)
}

// close ends what database/sql has running.
func (b *books) close() {
	for _, pool := range b.pools {
		_ = pool.Close() // nothing is lost by it
	}
}

// serving is what the context of a call says: whose it is, and its name.
type serving struct {
	life   *life
	name   string
	branch dtc.Branch
}

// step is called before each step of the database.
func (b *books) step(ctx context.Context, what string) error {
	s, ok := ctx.Value(serverKey{}).(*serving)
	if !ok {
		return nil // it starts
	}
	w := b.w
	if what == "committed" {
		w.know.glance(b.party, s.branch)
	}
	if len(what) > 28 {
		what = what[:28]
	}
	var err error
	e := &event{label: s.name + ": " + strings.TrimSpace(what), whose: s.life, delay: quick, gate: make(chan struct{})}
	e.do = func() {
		if w.calm {
			return
		}
		switch {
		case w.chance(w.plan.fail * 0.05):
			err = io.ErrUnexpectedEOF
		case w.chance(w.plan.fail * 0.05):
			err = simdb.ErrLate
			commit := w.chance(0.5)
			w.post(nil, b.id+"'s database hears of it", span{time.Millisecond, 5 * time.Second}, func() { b.db.Deliver(commit) })
		}
		if err != nil {
			w.trace("  fails: ", err.Error())
		}
	}
	w.arrive(e)
	select {
	case <-e.gate:
	case <-ctx.Done():
		w.leave(e)
		return ctx.Err()
	}
	if s.life.dead.Load() {
		return errDead
	}
	return err
}

// prepare leaves a token and votes.
func (b *books) prepare(ctx context.Context, tx *sql.Tx, br dtc.Branch) (dtc.Vote, error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO token (xid, token, state) VALUES ($1, $2, 'held')",
		br.XID.String(), string(br.TxID)); err != nil {
		return dtc.VoteAbort, err
	}
	if err := b.work(ctx, "prepare"); err != nil {
		return dtc.VoteAbort, err
	}
	return b.vote(br)
}

// commit puts another token in its place.
func (b *books) commit(ctx context.Context, tx *sql.Tx, br dtc.Branch) error {
	if err := b.rollback(ctx, tx, br); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO token (xid, token, state) VALUES ($1, $2, 'applied')",
		br.XID.String(), string(br.TxID)); err != nil {
		return err
	}
	return b.work(ctx, "commit")
}

func (b *books) rollback(ctx context.Context, tx *sql.Tx, br dtc.Branch) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM token WHERE xid = $1 AND state = 'held'", br.XID.String())
	return err
}

// tokens checks that every commit has had its effect once, and nothing else any.
func (b *books) tokens(k *knowledge) {
	held, applied := map[string]int{}, map[string]int{}
	for _, r := range b.db.Rows("token") {
		if r["state"] == "held" {
			held[r["xid"].(string)]++
		} else {
			applied[r["xid"].(string)]++
		}
	}
	for _, t := range k.order {
		for _, br := range t.branches {
			if br.party != b.party || t.resolved {
				continue
			}
			want := 0
			if br.committed {
				want = 1
			}
			if n := applied[t.xid.String()]; n != want {
				k.w.violation("I7", "%s at %s has had %d effects, want %d", short(t.xid), b.id, n, want)
			}
			if n := held[t.xid.String()]; n > 0 && !t.resolved {
				k.w.violation("L2", "%s at %s has left %d tokens held", short(t.xid), b.id, n)
			}
		}
	}
	if open, waiting := b.db.Busy(); open+waiting > 0 {
		k.w.violation("L2", "at rest %d transactions of %s are open and %d statements wait", open, b.id, waiting)
	}
}
