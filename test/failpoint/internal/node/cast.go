package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// cast is the participants of a process.
type cast struct {
	orders Orders
	dbs    []*sql.DB
	guards []*guard.Guard
	once   *oracle.Once

	mu    sync.Mutex
	seen  map[dtc.XID]bool // at which something was lost already
	until time.Time        // when b comes back
}

func newCast(o Orders) (*cast, error) {
	c := &cast{orders: o, seen: map[dtc.XID]bool{}}
	for i, name := range Services {
		db, err := OpenDatabase(o.Dir, i)
		if err != nil {
			return nil, err
		}
		c.dbs = append(c.dbs, db)
		g, err := c.guard(i, name)
		if err != nil {
			return nil, err
		}
		c.guards = append(c.guards, g)
	}
	return c, nil
}

func (c *cast) guard(i int, name string) (*guard.Guard, error) {
	if i != Once {
		return oracle.NewGuard(c.dbs[i], name)
	}
	var err error
	if c.once, err = oracle.NewOnce(c.dbs[i], name, c.orders.Break); err != nil {
		return nil, err
	}
	return c.once.Guard, nil
}

func (c *cast) close() {
	for _, db := range c.dbs {
		_ = db.Close()
	}
}

func (c *cast) prepared() (n int, err error) {
	for _, db := range c.dbs {
		more, err := oracle.Prepared(db)
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}

// applied reports whether a branch is committed at a participant.
func (c *cast) applied(service int, x dtc.XID) bool {
	var n int
	err := c.dbs[service].QueryRow("SELECT count(*) FROM token WHERE xid = ? AND applied > 0", x.String()).Scan(&n)
	return err == nil && n > 0
}

func (c *cast) participants() (all []dtc.Participant) {
	for i, g := range c.guards {
		p := dtc.Participant(&unreliable{g, c})
		switch i {
		case Plain:
			p = struct{ dtc.Participant }{p} // hides InDoubt
		case Once:
			p = &unreliableOnce{c.once, c}
		}
		all = append(all, p)
	}
	return all
}

// first reports whether it is called with an XID for the first time.
func (c *cast) first(x dtc.XID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.seen[x]
	c.seen[x] = true
	return !again
}

// away reports whether b does not answer, which begins with the first commit of a
// transaction that is flagged so.
func (c *cast) away(b dtc.Branch) bool {
	begins := FlagOf(b.TxID) == Away && c.first(b.XID)
	c.mu.Lock()
	defer c.mu.Unlock()
	if begins {
		c.until = time.Now().Add(15 * time.Millisecond)
	}
	return time.Now().Before(c.until)
}

// unreliable is a participant that does what the flag of a transaction says.
type unreliable struct {
	*guard.Guard
	c *cast
}

var errLost = dtc.NoAnswer(errors.New("the answer was lost"))

func (p *unreliable) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	switch flag := FlagOf(b.TxID); {
	case p.ID() == "c" && flag == Mute:
		<-ctx.Done()
		return dtc.VoteAbort, dtc.NoAnswer(ctx.Err())
	case p.ID() == "c" && flag == Slow:
		time.Sleep(30 * time.Millisecond)
	case p.ID() == "c" && flag == Hung:
		// Longer than anybody waits; then it is refused, because it was rolled back.
		time.Sleep(160 * time.Millisecond)
		ctx = context.WithoutCancel(ctx)
	}
	vote, err := p.Guard.Prepare(ctx, b)
	if err == nil && p.ID() == "a" && FlagOf(b.TxID) == Lost && p.c.first(b.XID) {
		return dtc.VoteAbort, errLost
	}
	return vote, err
}

// CommitLost is a deliberate bug, which must be found: a test that cannot fail shows
// nothing. Commits at the plain participant are acknowledged without effect.
const CommitLost = "commit_lost"

func (p *unreliable) Commit(ctx context.Context, b dtc.Branch) error {
	if p.ID() == "b" && p.c.away(b) {
		return dtc.NoAnswer(errors.New("there is nobody"))
	}
	if p.c.orders.Break == CommitLost && p.ID() == Services[Plain] {
		return nil
	}
	err := p.Guard.Commit(ctx, b)
	if err == nil && p.ID() == "b" && FlagOf(b.TxID) == Stuck {
		return errLost // for ever
	}
	return err
}

// Plant prepares a branch that no log knows. Prepare records are not forced for
// participants that list, so a power failure leaves such branches, and a kill does when
// the record waits behind a sync; a planted one is there for certain. The sweep must
// find it and roll it back.
func Plant(dir string, life int) error {
	c, err := newCast(Orders{Dir: dir})
	if err != nil {
		return err
	}
	defer c.close()
	return c.plant(dir, life)
}

func (c *cast) plant(dir string, life int) error {
	r, err := wal.OpenReadOnly(LogDir(dir), nil)
	if none := (*wal.NoLogError)(nil); errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return err
	}
	var last *txlog.Incarnation
	err = r.Replay(func(e txlog.Entry) error {
		if rec, ok := e.Record.(*txlog.Incarnation); ok {
			last = rec
		}
		return nil
	})
	if err != nil || last == nil {
		return err
	}
	g := c.guards[0]
	vote, err := g.Prepare(context.Background(), dtc.Branch{
		Participant: g.ID(), Payload: oracle.Payload(oracle.Writes), Attempt: 1,
		TxID: NewID(life, 0, Planted, "w---"),
		XID:  dtc.XID{Log: r.ID(), Incarnation: last.Incarnation, Seq: 1<<19 + uint64(life)},
	})
	if err == nil && vote != dtc.VoteCommit {
		err = fmt.Errorf("the vote is %v", vote)
	}
	return err
}
