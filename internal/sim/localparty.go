package sim

import (
	"context"
	"errors"
	"sync"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
)

// local is a participant of functions in the coordinator's process, over storage that
// is durable. It cannot list, has no tombstones and knows no low water: that a call
// takes effect only while it is out is all that protects it from a late prepare. Its
// calls die with the process.
type local struct {
	*party
	mu   sync.Mutex
	rows map[dtc.XID]dtctest.State
}

func newLocalParty(w *world, id string) *party {
	l := &local{party: &party{w: w, id: id, local: true}, rows: map[dtc.XID]dtctest.State{}}
	l.crash, l.restart = func() {}, func() {}
	l.state = l.row
	l.prepared = func() (list []dtc.XID) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, t := range w.know.order {
			if l.rows[t.xid] == dtctest.Prepared {
				list = append(list, t.xid)
			}
		}
		return list
	}
	l.server = l
	l.begin()
	return l.party
}

func (l *local) row(x dtc.XID) dtctest.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows[x]
}

func (l *local) set(x dtc.XID, s dtctest.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[x] = s
}

// ID implements [dtc.Participant].
func (l *local) ID() string { return l.id }

// Prepare implements [dtc.Participant].
func (l *local) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if err := l.work(ctx, "prepare"); err != nil {
		return dtc.VoteAbort, err
	}
	v, err := l.vote(b)
	if err == nil && v == dtc.VoteCommit {
		l.set(b.XID, dtctest.Prepared)
	}
	return v, err
}

// Commit implements [dtc.Participant].
func (l *local) Commit(ctx context.Context, b dtc.Branch) error {
	if err := l.work(ctx, "commit"); err != nil {
		return err
	}
	if l.row(b.XID) == dtctest.Unknown {
		return dtc.ErrUnknownBranch
	}
	l.set(b.XID, dtctest.Committed)
	return nil
}

// Rollback implements [dtc.Participant].
func (l *local) Rollback(ctx context.Context, b dtc.Branch) error {
	if err := l.work(ctx, "rollback"); err != nil {
		return err
	}
	if l.row(b.XID) == dtctest.Committed {
		return &dtc.FinishedError{Outcome: dtc.Committed}
	}
	l.set(b.XID, dtctest.Unknown)
	return nil
}

// here carries out a call within the process. It may outlive its context.
func (r remote) here(ctx context.Context, c *call) reply {
	w := r.w
	ctx = context.WithValue(ctx, serverKey{}, &serving{r.p.life, c.name, c.branch})
	rep := r.party.serve(ctx, c)
	if r.p.dead.Load() {
		return silent(errDead)
	}
	if rep.err != nil && errors.Is(rep.err, dtctest.ErrDown) {
		return silent(errDead)
	}
	if !w.gate(r.p.life, c.name+" = "+rep.String(), quick, nil) {
		return silent(errDead)
	}
	return rep
}
