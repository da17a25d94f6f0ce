package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
)

// Options are settings of a [Database]. The zero value, and nil, give the defaults.
type Options struct {
	// TablePrefix is what the names of the tables begin with; "dtc" if empty. At most
	// 40 of [a-z_0-9]. They stand in the schema that the connections begin in.
	TablePrefix string
	// NoCreate leaves the tables to you; see [Schema].
	NoCreate bool
	// AllowLossy accepts a server that may lose votes in a crash: with
	// innodb_flush_log_at_trx_commit or sync_binlog other than 1. For tests.
	AllowLossy bool
	// Isolation is that of the branches that [Database.Do] and statements begin; the
	// session's own if zero.
	Isolation sql.IsolationLevel
	// FinishConns bounds the connections on which branches are finished, besides
	// those of the pool; 8 if zero.
	FinishConns int
	// PruneEvery is after how many finished branches rows below low water are
	// dropped; 256 if zero, never by itself if negative.
	PruneEvery int
	// TwoPhases never commits in one phase, also where a transaction has one branch only. It is not
	// to be switched on while requests may come again that were committed without it, see
	// [dtc.OnePhaser].
	TwoPhases bool
	// RememberOnce is how long an id that was committed in one phase is remembered, so
	// that it is not done again; 1 h if zero. At least as long as the coordinator keeps
	// outcomes, see [dtc.Config].
	RememberOnce time.Duration
	// FreshSessions closes the connection of a branch when it is finished, for work that
	// leaves something in its session: settings, temporary tables, locks of GET_LOCK.
	// Otherwise the next user of the connection meets them, as after an [sql.Tx]. It costs
	// a new connection for each branch.
	FreshSessions bool
	// Logger is for what goes wrong beside the work; slog.Default() if nil.
	Logger *slog.Logger
}

// Database is a MariaDB database as a participant. All methods may be called
// concurrently. It implements [dtc.Participant], [dtc.Lister] and [dtc.OnePhaser].
type Database struct {
	id     string
	pool   *sql.DB
	finish *sql.DB // of its own: see the package comment
	dirty  *sql.DB // sees rows that are not committed
	opts   Options
	q      queries

	mu       sync.Mutex
	closed   bool
	sessions map[dtc.XID]*session
	low      map[dtc.LogID]dtc.XID // the highest low water seen
	next     map[dtc.LogID]*reading
	fenced   map[dtc.LogID]incarnation // the highest that was fenced off from those before

	keeper   keeper
	fencing  chan struct{} // held by the one that fences
	reads    chan struct{} // held by the one that reads low water for others
	finished atomic.Int64
	pruning  atomic.Bool
}

var (
	_ dtc.Participant = (*Database)(nil)
	_ dtc.Lister      = (*Database)(nil)
	_ dtc.OnePhaser   = (*Database)(nil)
)

// ErrUnusable: the server cannot be a participant as it is. The message says what to
// change.
var ErrUnusable = errors.New("mysql: the server cannot take part in distributed transactions")

// Open makes a database a participant of that id. The pool is the application's and
// stays its own; [Database.Close] does not close it. The connector makes the connections
// on which branches are finished: to the same server and schema, as the same account or
// one that may end the other's connections. It is what sql.OpenDB takes, and may be the
// pool's own. The tables are created if they are missing. A server that cannot keep what
// a participant promises is refused with [ErrUnusable].
//
// While Open tries whether it can end a connection it takes one from the pool, which is
// closed.
func Open(ctx context.Context, id string, pool *sql.DB, finish driver.Connector, opts *Options) (*Database, error) {
	d := &Database{
		id: id, pool: pool, sessions: map[dtc.XID]*session{}, low: map[dtc.LogID]dtc.XID{},
		next: map[dtc.LogID]*reading{}, reads: make(chan struct{}, 1),
		fenced: map[dtc.LogID]incarnation{}, fencing: make(chan struct{}, 1),
		keeper: keeper{sem: make(chan struct{}, 1)},
	}
	if opts != nil {
		d.opts = *opts
	}
	if d.opts.TablePrefix == "" {
		d.opts.TablePrefix = defaultPrefix
	}
	if d.opts.FinishConns == 0 {
		d.opts.FinishConns = 8
	}
	if d.opts.PruneEvery == 0 {
		d.opts.PruneEvery = 256
	}
	if d.opts.RememberOnce == 0 {
		d.opts.RememberOnce = time.Hour
	}
	if d.opts.Logger == nil {
		d.opts.Logger = slog.Default()
	}
	create, err := Schema(d.opts.TablePrefix)
	if err != nil {
		return nil, err
	}
	if _, err := literal(id); err != nil {
		return nil, err
	}
	if d.opts.Isolation != 0 && isolations[d.opts.Isolation] == "" {
		return nil, fmt.Errorf("mysql: %s: isolation level %v: the server does not have it", id, d.opts.Isolation)
	}
	if d.q, err = speak(ctx, finish, d.opts.TablePrefix); err != nil {
		return nil, fmt.Errorf("mysql: %s: %w", id, err)
	}
	d.finish = d.openFinish(finish, "READ COMMITTED", d.opts.FinishConns)
	d.dirty = d.openFinish(finish, "READ UNCOMMITTED", max(1, d.opts.FinishConns/2))
	if err := d.start(ctx, create); err != nil {
		_ = d.finish.Close()
		_ = d.dirty.Close()
		return nil, fmt.Errorf("mysql: %s: %w", id, err)
	}
	return d, nil
}

var isolations = map[sql.IsolationLevel]string{
	sql.LevelReadUncommitted: "READ UNCOMMITTED",
	sql.LevelReadCommitted:   "READ COMMITTED",
	sql.LevelRepeatableRead:  "REPEATABLE READ",
	sql.LevelSerializable:    "SERIALIZABLE",
}

func (d *Database) start(ctx context.Context, create string) error {
	all, err := d.Findings(ctx)
	if err != nil {
		return err
	}
	if err := d.refuse(all); err != nil {
		return err
	}
	if !d.opts.NoCreate {
		// Where the tables are, nothing is touched: to create one, even if it is there,
		// waits for prepared branches that have written to it, and this is who would end
		// them.
		var there int
		err := d.finish.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"+
			" AND TABLE_NAME IN ('"+strings.Join(d.q.tables(), "', '")+"')").Scan(&there)
		if err != nil {
			return fmt.Errorf("look for the tables: %w", safe(err))
		}
		for _, sql := range strings.SplitAfter(create, ";\n") {
			if sql == "" || there == len(d.q.tables()) {
				break
			}
			if _, err := d.finish.ExecContext(ctx, sql); err != nil {
				return fmt.Errorf("create the tables: %w", safe(err))
			}
		}
	}
	if err := d.tryTables(ctx); err != nil {
		return err
	}
	return d.tryFence(ctx)
}

// ID implements [dtc.Participant].
func (d *Database) ID() string { return d.id }

// Close rolls back the work of branches that are not prepared, and closes the
// connections that are not the pool's. What is prepared stays prepared. Close the
// coordinator first.
func (d *Database) Close() {
	d.mu.Lock()
	d.closed = true
	var all []*session
	for _, s := range d.sessions {
		all = append(all, s)
	}
	clear(d.sessions)
	d.mu.Unlock()
	for _, s := range all {
		s.cancel()
		if s.lock(context.Background()) == nil {
			s.end(errClosed)
			s.unlock()
		}
	}
	_ = d.finish.Close()
	_ = d.dirty.Close()
}
