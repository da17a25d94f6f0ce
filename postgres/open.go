package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

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
	// dropped, while others go on; 256 if zero, never by itself if negative.
	PruneEvery int
	// TwoPhases lets no branch be committed in one phase, also if it is the only one of its
	// transaction. It is not to be switched on while requests may come again that were committed
	// without it, see [dtc.OnePhaser].
	TwoPhases bool
	// RememberOnce is for how long at least it is kept that a transaction was committed in
	// one phase; an hour if zero. It must not be less than the coordinator's
	// OutcomeRetention.
	RememberOnce time.Duration
	// Logger is for what goes wrong beside the work; slog.Default() if nil.
	Logger *slog.Logger
}

// Database is a PostgreSQL database as a participant. All methods may be called
// concurrently. It implements [dtc.Participant], [dtc.Lister] and [dtc.OnePhaser].
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
	keeper   *time.Timer           // see letGo
	keeping  bool                  // it runs
	low      map[dtc.LogID]dtc.XID // the highest low water seen
	horizons map[dtc.LogID]horizon // and the last that was stored
	fences   map[dtc.LogID]fence
	swept    map[dtc.LogID]int64 // up to which block of the table the evidence was looked through

	fencing chan struct{} // held by whoever raises a fence
	pruner  pruner
}

var (
	_ dtc.Participant = (*Database)(nil)
	_ dtc.Lister      = (*Database)(nil)
	_ dtc.OnePhaser   = (*Database)(nil)
)

// ErrUnusable: the server cannot be a participant as it is. The message says what to
// change.
var ErrUnusable = errors.New("postgres: the server cannot take part in distributed transactions")

// Open makes a database a participant of that id. The pool is the application's and
// stays its own; [Database.Close] does not close it. The tables are created if they are
// missing. A server that cannot keep what a participant promises is refused with
// [ErrUnusable].
func Open(ctx context.Context, id string, pool *pgxpool.Pool, opts *Options) (*Database, error) {
	d := &Database{
		id: id, pool: pool, sessions: map[dtc.XID]*session{}, kept: map[dtc.XID]kept{}, low: map[dtc.LogID]dtc.XID{}, horizons: map[dtc.LogID]horizon{},
		fences: map[dtc.LogID]fence{}, swept: map[dtc.LogID]int64{}, fencing: make(chan struct{}, 1),
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
	d.pruner.life, d.pruner.stop = context.WithCancel(context.Background())
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

func (d *Database) start(ctx context.Context, create string) error {
	if err := d.probe(ctx); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, d.finish, func(pgx.Tx) error { return nil }); sqlState(err) == codeProtocol {
		return fmt.Errorf("%w: a pooler in between lets no transaction through: its pool_mode must be transaction or session: %w", ErrUnusable, safe(err))
	} else if err != nil {
		return fmt.Errorf("begin a transaction: %w", safe(err))
	}
	// Where the tables are, nothing is touched: to look whether an index is missing takes
	// a lock that a prepared branch does not let through, and this is who would end it.
	missing, err := d.findTables(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	if d.opts.NoCreate {
		return fmt.Errorf("missing, or not in the search_path: %s; create what is missing with the statements of Schema", strings.Join(missing, ", "))
	}
	// Two that start at once would trip over one another in the catalogue.
	err = pgx.BeginFunc(ctx, d.finish, func(tx pgx.Tx) error {
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

// findTables notes where the tables are, and which role this is, and returns the names of
// those that are missing.
func (d *Database) findTables(ctx context.Context) (missing []string, err error) {
	names := make([]string, len(tableNames))
	for i, name := range tableNames {
		names[i] = d.opts.TablePrefix + "_" + name
	}
	var found []*string
	var role string
	err = d.finish.QueryRow(ctx, `SELECT array_agg((SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
		WHERE pg_class.oid = to_regclass(name)) ORDER BY i), quote_literal(current_user) FROM unnest($1::text[]) WITH ORDINALITY AS names (name, i)`, names).Scan(&found, &role)
	if err != nil {
		return nil, fmt.Errorf("look for the tables: %w", safe(err))
	}
	tables := make([]string, len(found))
	for i, f := range found {
		if f == nil {
			missing = append(missing, names[i])
			continue
		}
		tables[i] = *f
	}
	if len(missing) > 0 {
		return missing, nil
	}
	d.q = queriesOf(d.opts.TablePrefix, tables, role)
	var allowed bool
	err = d.finish.QueryRow(ctx, `SELECT bool_and(has_table_privilege(t, p)) FROM unnest($1::text[], $2::text[]) AS needs (t, list),
		regexp_split_to_table(list, ', ') AS p`, tables, privileges).Scan(&allowed)
	if err != nil {
		return nil, fmt.Errorf("look at the privileges: %w", safe(err))
	}
	if !allowed {
		var grants []string
		for i, t := range tables {
			grants = append(grants, privileges[i]+" ON "+t)
		}
		return nil, fmt.Errorf("%w: the role %s lacks privileges: GRANT %s", ErrUnusable, role, strings.Join(grants, ", and "))
	}
	return nil, nil
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
		k.conn.Release()
	}
	clear(d.kept)
	if d.keeper != nil {
		d.keeper.Stop()
	}
	d.mu.Unlock()
	d.pruner.stop()
	for _, s := range all {
		s.cancel()
		if s.lock(context.Background()) == nil {
			s.end(errClosed)
			s.unlock()
		}
	}
	d.pruner.runs.Wait()
	d.finish.Close()
	d.watch.Close()
}
