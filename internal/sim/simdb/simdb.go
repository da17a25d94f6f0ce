// Package simdb is the database below a simulated participant: tables in memory,
// behind database/sql, with the locks and the visibility of PostgreSQL at READ
// COMMITTED. The guard that runs on it is the shipping one, and says
// guard.PostgreSQL; what is imitated is only the disk and the lock manager:
//
//	db := simdb.New(simdb.Tokens) // the schema of what is not the guard's
//	db.Step = func(ctx context.Context, what string) error { … } // the simulator's gate
//	pool := simdb.Open(db) // one per process that uses the database
//	defer pool.Close()     // ends database/sql's goroutines, for the bubble's sake
//	g, err := guard.New(ctx, "stock", pool, guard.PostgreSQL, funcs, nil)
//
// What it knows are the statements that the guard issues and a few for the
// functions around it; any other is an error that quotes it. It starts no
// goroutine. A statement waits for a lock on a channel, so it is durably blocked
// for testing/synctest, and is carried on, in the order of waiting, by the call
// that ends the transaction it waits for: what the database does depends on the
// order of calls alone, not on the Go scheduler.
//
// # Faults
//
// [DB.Step] is called before each begin ("begin") and statement ("insert token"),
// after a wait ("woken insert token"), before a commit takes effect ("commit"), and
// after it has and before its answer goes out ("committed"). It may wait, as long as it returns when ctx ends or the process is
// dead; and it may return an error, and with that the connection is lost: before
// "commit" nothing took effect, after it everything did, and the client cannot
// tell. [ErrLate] loses only the connection: the transaction goes on holding what
// it holds until [DB.Deliver]. [DB.Crash] kills the server, also from inside Step;
// [Kill] kills the process that a pool belongs to.
//
// Set no limit of open connections on the pool: database/sql then chooses at random
// who gets the next one.
package simdb

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Tokens is a schema for participants in which each prepare leaves a row and each
// end changes it, and nothing hides a second one.
const Tokens = `CREATE TABLE token (xid varchar(64) NOT NULL, token text NOT NULL, state text NOT NULL);
CREATE TABLE account (id text NOT NULL, balance bigint NOT NULL, PRIMARY KEY (id));
`

// ErrLate is for Step to return: the connection is lost to the client, but the
// server does not know yet. What the client sent last arrives with [DB.Deliver].
var ErrLate = errors.New("simdb: the connection is lost, and what was sent is under way")

// DB is a database. Its methods may be called from any goroutine.
type DB struct {
	// Step is called where something can go wrong; see the package comment. It is
	// set before the first use, and nil does nothing.
	Step func(ctx context.Context, what string) error

	mu      sync.Mutex // never held while anything waits
	tables  map[string]*table
	conns   []*conn
	txs     []*tx                // begun and not ended, in the order of their begin
	waiting []*job               // in the order in which they began to wait
	late    []func(arrived bool) // what was under way when a connection was lost
	down    bool
	changes uint64
}

// New makes a database with the tables of the given statements, which it commits. It
// panics on what it cannot parse.
func New(schema ...string) *DB {
	db := &DB{tables: map[string]*table{}}
	for _, text := range schema {
		for _, query := range statementsOf(text) {
			s, err := parsed(query)
			if err != nil {
				panic(err)
			}
			if err := db.must(s); err != nil {
				panic(err)
			}
		}
	}
	return db
}

func (db *DB) must(s *statement) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	t := db.begin()
	j := db.start(t, s, nil, nil)
	db.end(t, j.err == nil)
	return j.err
}

// Crash kills the server without warning: whatever was not committed is gone, and
// every call that is under way fails. Until [DB.Restart] nobody can connect.
func (db *DB) Crash() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.down = true
	jobs := db.waiting
	db.waiting = nil
	for _, t := range slices.Backward(db.txs) {
		t.undo()
		t.ended = true
	}
	db.txs, db.late = nil, nil
	for _, c := range db.conns {
		c.dead = true
	}
	db.conns = nil
	for _, j := range jobs {
		j.err = crashed()
		close(j.done)
	}
}

// Restart lets clients connect again after a crash.
func (db *DB) Restart() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.down = false
}

// Deliver lets what was sent over the oldest lost connection ([ErrLate]) arrive, a
// commit or a statement outside a transaction; if arrive is not set it never does, and
// the server finds the connection closed. Either way nothing stays open of it. It
// reports false if there is none.
func (db *DB) Deliver(arrive bool) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.late) == 0 {
		return false
	}
	late := db.late[0]
	db.late = db.late[1:]
	late(arrive)
	return true
}

// alone runs a statement for which nobody waits, as soon as it need not wait itself.
func (db *DB) alone(s *statement, args []any, arrived bool) {
	if !arrived {
		return
	}
	t := db.begin()
	db.start(t, s, args, func(j *job) { db.end(t, j.err == nil) })
}

// Error is an error of the server. The guard reads its code.
type Error struct{ Code, Message string }

// Error implements error.
func (e *Error) Error() string { return "simdb: " + e.Message + " (SQLSTATE " + e.Code + ")" }

// SQLState returns the code, as the drivers of PostgreSQL do.
func (e *Error) SQLState() string { return e.Code }

func crashed() error { return &Error{"57P02", "the server crashed"} }
