package simdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
)

// Open opens a pool, without limits, on db. A process that uses the database has one
// of its own; [Kill] ends it.
func Open(db *DB) *sql.DB { return sql.OpenDB(&process{db: db}) }

// Kill kills the process that the pool belongs to: its connections are closed, the
// server rolls back what was open on them, every call under way fails, and none
// succeeds any more. The pool must still be closed. A pool that is not of this
// package is a mistake, and panics.
func Kill(pool *sql.DB) {
	p := pool.Driver().(*process)
	p.db.mu.Lock()
	defer p.db.mu.Unlock()
	p.dead = true
	for _, c := range slices.Clone(p.db.conns) {
		if c.process == p {
			c.lose()
		}
	}
}

// process is a client of the database, and makes its connections.
type process struct {
	db   *DB
	dead bool
}

// Driver implements driver.Connector.
func (p *process) Driver() driver.Driver { return p }

// Open implements driver.Driver.
func (p *process) Open(string) (driver.Conn, error) { return p.Connect(context.Background()) }

// Connect implements driver.Connector.
func (p *process) Connect(context.Context) (driver.Conn, error) {
	p.db.mu.Lock()
	defer p.db.mu.Unlock()
	if p.dead || p.db.down {
		return nil, &Error{"57P03", "the server cannot be reached"}
	}
	c := &conn{db: p.db, process: p}
	p.db.conns = append(p.db.conns, c)
	return c, nil
}
