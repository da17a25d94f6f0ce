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
	timer *time.Timer
}

// keep keeps the connection of a branch for its end.
func (d *Database) keep(xid dtc.XID, conn *pgxpool.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.kept[xid]; ok || d.closed {
		conn.Release()
		return
	}
	d.kept[xid] = kept{conn, time.AfterFunc(keepFor, func() {
		if conn := d.unkeep(xid); conn != nil {
			conn.Release()
		}
	})}
}

// unkeep returns the connection that was kept for a branch, or nil. It is the caller's.
func (d *Database) unkeep(xid dtc.XID) *pgxpool.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.kept[xid]
	if !ok {
		return nil
	}
	k.timer.Stop()
	delete(d.kept, xid)
	return k.conn
}

// finisher executes the statements that finish branches.
type finisher interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// finishKept ends a prepared transaction on the connection that was kept for it, or
// another one.
func (d *Database) finishKept(ctx context.Context, b dtc.Branch, verb string) (bool, error) {
	conn := d.unkeep(b.XID)
	if conn == nil {
		return d.finishPrepared(ctx, d.finish, b, verb)
	}
	defer conn.Release()
	return d.finishPrepared(ctx, conn.Conn(), b, verb)
}

var (
	_ finisher = (*pgx.Conn)(nil)
	_ finisher = (*pgxpool.Pool)(nil)
)
