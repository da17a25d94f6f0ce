package guard

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/dtc-project/dtc"
)

// Funcs are the participant's work. Each gets the local transaction in which the
// guard keeps its own row, and must do everything in it.
type Funcs struct {
	// Prepare does everything that can fail, keeps it reserved and votes. A
	// [dtc.VoteCommit] promises that Commit can succeed whatever happens. With
	// another vote or an error everything that was done in tx is undone.
	//
	// An error is an abort vote, and the same vote is given from then on, unless
	// it means that the same call may succeed a moment later (a deadlock, a lost
	// connection, an ended context, [dtc.NoAnswer]): then there is no vote yet.
	Prepare func(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error)
	// Commit makes the prepared work visible. Called once with effect; if it
	// fails, its transaction is rolled back and it is called again later. nil
	// does nothing.
	Commit func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error
	// Rollback undoes the prepared work, only ever after a commit vote. nil does
	// nothing.
	Rollback func(ctx context.Context, tx *sql.Tx, b dtc.Branch) error
}

// Options changes the defaults. The zero value, and nil, are good.
type Options struct {
	// TablePrefix begins the names of the guard's tables, [a-z_0-9], at most 40
	// characters, not beginning with a digit. The default is "dtc_guard".
	// Participants with different ids may share the tables.
	TablePrefix string
	// NoCreate leaves the creation of the tables to the caller; see [Schema].
	// New then fails if they are missing.
	NoCreate bool
	// PruneEvery is after how many finished branches finished rows below low
	// water are dropped, by the call that finishes the last of them. The default
	// is 256; a negative number leaves it to calls of [Guard.Prune].
	PruneEvery int
	// KeepPayload stores the payload in the branch's row, until that is dropped,
	// and hands it to Commit and Rollback too. It costs one more query each.
	KeepPayload bool
	// AllowLossyDatabase lets New accept a database that may lose a committed
	// transaction in a crash (SQLite in memory or with synchronous below FULL,
	// PostgreSQL with fsync or synchronous_commit off, MariaDB with
	// innodb_flush_log_at_trx_commit other than 1). Every such loss may be a
	// vote. For tests.
	AllowLossyDatabase bool
	// Transient says that an error of Prepare is no answer, in addition to what
	// the guard recognises; see [IsTransient].
	Transient func(error) bool
	// Logger gets a warning when rows could not be dropped, which fails no call.
	// nil discards it.
	Logger *slog.Logger
}

// Guard is a [dtc.Participant] and [dtc.Lister] over a SQL database.
type Guard struct {
	id     string
	db     *sql.DB
	d      *dialect
	funcs  Funcs
	opts   Options
	tables tables
	sql    statements

	finished atomic.Int64 // branches finished since the last pruning
	pruning  atomic.Bool  // one pruning at a time is enough

	mu       sync.Mutex
	lowWater map[dtc.LogID]dtc.XID // highest seen; says nothing until it is stored
}

var (
	_ dtc.Participant = (*Guard)(nil)
	_ dtc.Lister      = (*Guard)(nil)
)

var (
	validID     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	validPrefix = regexp.MustCompile(`^[a-z_][a-z_0-9]{0,39}$`)
)

// New makes a participant of the given id, creates its tables if they are
// missing, and checks that the database is what it is said to be and keeps what
// it commits. The pool stays the caller's. nil options are the defaults.
func New(ctx context.Context, id string, db *sql.DB, dialect Dialect, funcs Funcs, opts *Options) (*Guard, error) {
	g := &Guard{id: id, db: db, funcs: funcs, lowWater: map[dtc.LogID]dtc.XID{}}
	if opts != nil {
		g.opts = *opts
	}
	g.opts.TablePrefix = cmp.Or(g.opts.TablePrefix, defaultPrefix)
	g.opts.PruneEvery = cmp.Or(g.opts.PruneEvery, 256)
	if g.opts.Logger == nil {
		g.opts.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	switch {
	case !validID.MatchString(id):
		return nil, fmt.Errorf("guard: participant id %q: want 1 to 64 of [A-Za-z0-9._-]", id)
	case db == nil:
		return nil, errors.New("guard: no database")
	case funcs.Prepare == nil:
		return nil, errors.New("guard: no Prepare function")
	}
	if g.d, err = dialect.find(); err != nil {
		return nil, err
	}
	if g.tables, err = tablesOf(g.opts.TablePrefix); err != nil {
		return nil, err
	}
	g.sql = g.d.statements(g.tables)
	if err := g.d.probe(ctx, db, g.opts.AllowLossyDatabase); err != nil {
		return nil, fmt.Errorf("guard: %s: %w", dialect, err)
	}
	if err := g.createTables(ctx); err != nil {
		return nil, fmt.Errorf("guard: %s: %w", dialect, err)
	}
	return g, nil
}

// ID implements [dtc.Participant].
func (g *Guard) ID() string { return g.id }

// check refuses a branch that must not touch this participant's rows.
func (g *Guard) check(b dtc.Branch) error {
	switch {
	case b.Participant != g.id:
		return fmt.Errorf("guard: branch of participant %q sent to %q", b.Participant, g.id)
	case b.XID.IsZero():
		return errors.New("guard: branch without XID")
	case b.XID.Seq > math.MaxInt64:
		return fmt.Errorf("guard: sequence of %s does not fit into a signed 64-bit column", b.XID)
	}
	return nil
}

// begin starts a local transaction in which every statement sees what was
// committed before it began. Nothing less and nothing more will do; see the
// package comment.
func (g *Guard) begin(ctx context.Context) (*sql.Tx, error) {
	return g.db.BeginTx(ctx, &sql.TxOptions{Isolation: g.d.isolation})
}
