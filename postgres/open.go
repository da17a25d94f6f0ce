package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
)

// Options are settings of a [Database]. The zero value, and nil, give the defaults.
type Options struct {
	// TablePrefix is what the names of the tables begin with; "dtc" if empty. At most
	// 40 of [a-z_0-9]. A schema is chosen with the search_path of the pool.
	TablePrefix string
	// NoCreate leaves the tables to you; see [Schema].
	NoCreate bool
	// AllowLossy accepts a server that may lose votes in a crash: with fsync or
	// synchronous_commit switched off. For tests.
	AllowLossy bool
	// TxOptions are those of the transactions that [Database.Do] and statements begin.
	TxOptions pgx.TxOptions
	// FinishConns bounds the connections on which branches are finished, besides
	// those of the pool; 8 if zero.
	FinishConns int32
	// PruneEvery is after how many finished branches rows below low water are
	// dropped; 256 if zero, never by itself if negative.
	PruneEvery int
	// Logger is for what goes wrong beside the work; slog.Default() if nil.
	Logger *slog.Logger
}

// Database is a PostgreSQL database as a participant. All methods may be called
// concurrently. It implements [dtc.Participant] and [dtc.Lister].
type Database struct {
	id     string
	pool   *pgxpool.Pool
	finish *pgxpool.Pool // of its own: see the package comment
	watch  *pgxpool.Pool // to end what a seal waits for, which may be all of finish
	opts   Options
	q      queries
	keeps  bool // statements may be kept on connections: there is no pooler that does not

	mu       sync.Mutex
	closed   bool
	sessions map[dtc.XID]*session
	kept     map[dtc.XID]kept
	low      map[dtc.LogID]dtc.XID // the highest low water seen
	horizons map[dtc.LogID]horizon // and the last that was stored

	finished atomic.Int64
	pruning  atomic.Bool
}

var (
	_ dtc.Participant = (*Database)(nil)
	_ dtc.Lister      = (*Database)(nil)
)

// ErrUnusable: the server cannot be a participant as it is. The message says what to
// change.
var ErrUnusable = errors.New("postgres: the server cannot take part in distributed transactions")

// Open makes a database a participant of that id. The pool is the application's and
// stays its own; [Database.Close] does not close it. The tables are created if they are
// missing. A server that cannot keep what a participant promises is refused with
// [ErrUnusable].
func Open(ctx context.Context, id string, pool *pgxpool.Pool, opts *Options) (*Database, error) {
	d := &Database{id: id, pool: pool, sessions: map[dtc.XID]*session{}, kept: map[dtc.XID]kept{}, low: map[dtc.LogID]dtc.XID{}, horizons: map[dtc.LogID]horizon{}}
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
	if d.opts.Logger == nil {
		d.opts.Logger = slog.Default()
	}
	create, err := Schema(d.opts.TablePrefix)
	if err != nil {
		return nil, err
	}
	d.keeps = pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
	if d.finish, err = own(ctx, pool, d.opts.FinishConns); err != nil {
		return nil, fmt.Errorf("postgres: %s: %w", id, err)
	}
	if d.watch, err = own(ctx, pool, 1); err != nil {
		d.finish.Close()
		return nil, fmt.Errorf("postgres: %s: %w", id, err)
	}
	if err := d.start(ctx, create); err != nil {
		d.finish.Close()
		d.watch.Close()
		return nil, fmt.Errorf("postgres: %s: %w", id, err)
	}
	return d, nil
}

// own makes a pool like the application's, without what that does when it hands a
// connection out and takes it back. It connects when it is used.
func own(ctx context.Context, pool *pgxpool.Pool, conns int32) (*pgxpool.Pool, error) {
	cfg := pool.Config() // a copy
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = conns, 0, 0
	cfg.PrepareConn, cfg.AfterRelease = nil, nil
	cfg.BeforeAcquire = nil //nolint:staticcheck // deprecated, and still called
	return pgxpool.NewWithConfig(ctx, cfg)
}

func (d *Database) start(ctx context.Context, create string) error {
	if err := d.probe(ctx); err != nil {
		return err
	}
	// Where the tables are, nothing is touched: to look whether an index is missing takes
	// a lock that a prepared branch does not let through, and this is who would end it.
	if there, err := d.findTables(ctx); err != nil || there {
		return err
	}
	if d.opts.NoCreate {
		return fmt.Errorf("the tables %[1]s_branch and %[1]s_low_water are not there, or not in the search_path; see Schema", d.opts.TablePrefix)
	}
	// Two that start at once would trip over one another in the catalogue.
	err := pgx.BeginFunc(ctx, d.finish, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7227432)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, create)
		return err
	})
	if err != nil {
		return fmt.Errorf("create the tables: %w", safe(err))
	}
	_, err = d.findTables(ctx)
	return err
}

// findTables reports whether the tables are there, and notes where, and which role this is.
func (d *Database) findTables(ctx context.Context) (bool, error) {
	var branch, lowWater *string
	var role string
	name := "(SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace" +
		" WHERE pg_class.oid = to_regclass(%s))"
	err := d.finish.QueryRow(ctx, "SELECT "+fmt.Sprintf(name, "$1")+", "+fmt.Sprintf(name, "$2")+", quote_literal(current_user)",
		d.opts.TablePrefix+"_branch", d.opts.TablePrefix+"_low_water").Scan(&branch, &lowWater, &role)
	if err != nil {
		return false, fmt.Errorf("look for the tables: %w", safe(err))
	}
	if branch == nil || lowWater == nil {
		return false, nil
	}
	d.q = queriesOf(d.opts.TablePrefix, *branch, *lowWater, role)
	var allowed bool
	err = d.finish.QueryRow(ctx, `SELECT bool_and(has_table_privilege(t, p)) FROM (VALUES ($1, 'SELECT'), ($1, 'INSERT'), ($1, 'DELETE'),
		($2, 'SELECT'), ($2, 'INSERT'), ($2, 'UPDATE')) AS needs (t, p)`, *branch, *lowWater).Scan(&allowed)
	if err != nil {
		return false, fmt.Errorf("look at the privileges: %w", safe(err))
	}
	if !allowed {
		return false, fmt.Errorf("%w: the role %s lacks privileges: GRANT SELECT, INSERT, DELETE ON %s, and SELECT, INSERT, UPDATE ON %s",
			ErrUnusable, role, *branch, *lowWater)
	}
	return true, nil
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
	for _, k := range d.kept {
		k.timer.Stop()
		k.conn.Release()
	}
	clear(d.kept)
	d.mu.Unlock()
	for _, s := range all {
		s.cancel()
		if s.lock(context.Background()) == nil {
			s.end(errClosed)
			s.unlock()
		}
	}
	d.finish.Close()
	d.watch.Close()
}
