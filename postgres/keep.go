package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
)

// keepFor is for how long a connection waits for the decision on the branch that was
// prepared on it. The decision nearly always follows at once, and a server process that
// knows the branch finishes it at less cost than another one. Nothing depends on it: after
// that time the pool has its connection back.
const keepFor = 500 * time.Millisecond

// kept is a connection on which a branch is prepared.
type kept struct {
	conn  *pgxpool.Conn
	name  string // of the branch, as a literal
	until time.Time
}

// keep keeps the connection of a branch for its end.
func (d *Database) keep(xid dtc.XID, name string, conn *pgxpool.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.kept[xid]; ok || d.closed {
		conn.Release()
		return
	}
	d.kept[xid] = kept{conn, name, time.Now().Add(keepFor)}
	switch {
	case d.keeper == nil:
		d.keeper = time.AfterFunc(keepFor, d.letGo)
	case !d.keeping:
		d.keeper.Reset(keepFor)
	}
	d.keeping = true
}

// letGo gives back the connections whose time is over. All have one timer, which is set for
// the first of them and runs out for nothing if it was taken in time.
func (d *Database) letGo() {
	var over []kept
	d.mu.Lock()
	now, next := time.Now(), time.Duration(0)
	for xid, k := range d.kept {
		left := k.until.Sub(now)
		switch {
		case left <= 0:
			delete(d.kept, xid)
			over = append(over, k)
		case next == 0 || left < next:
			next = left
		}
	}
	if d.keeping = next > 0; d.keeping {
		d.keeper.Reset(next)
	}
	d.mu.Unlock()
	for _, k := range over {
		k.conn.Release()
	}
}

// unkeep returns the connection that was kept for a branch, if there is one. It is the
// caller's.
func (d *Database) unkeep(xid dtc.XID) (kept, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.kept[xid]
	delete(d.kept, xid)
	return k, ok
}

// finisher executes the statements that finish branches.
type finisher interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// finishKept ends a prepared transaction on the connection that was kept for it, or
// another one.
func (d *Database) finishKept(ctx context.Context, b dtc.Branch, verb string) (bool, error) {
	k, ok := d.unkeep(b.XID)
	if !ok {
		name, err := literal(Name(b.XID, b.Participant))
		if err != nil {
			return false, err
		}
		return d.finishPrepared(ctx, d.finish, name, verb)
	}
	defer k.conn.Release()
	return d.finishPrepared(ctx, k.conn.Conn(), k.name, verb)
}

var (
	_ finisher = (*pgx.Conn)(nil)
	_ finisher = (*pgxpool.Pool)(nil)
)
