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
	opts   Options
	q      queries

	mu       sync.Mutex
	closed   bool
	sessions map[dtc.XID]*session
	low      map[dtc.LogID]dtc.XID // the highest low water seen

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
	d := &Database{id: id, pool: pool, sessions: map[dtc.XID]*session{}, low: map[dtc.LogID]dtc.XID{}}
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
	d.q = queriesOf(d.opts.TablePrefix)
	cfg := pool.Config() // a copy
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = d.opts.FinishConns, 0, 0
	cfg.PrepareConn, cfg.AfterRelease = nil, nil // the application's own
	if d.finish, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("postgres: %s: %w", id, err)
	}
	if err := d.start(ctx, create); err != nil {
		d.finish.Close()
		return nil, fmt.Errorf("postgres: %s: %w", id, err)
	}
	return d, nil
}

func (d *Database) start(ctx context.Context, create string) error {
	if err := d.probe(ctx); err != nil {
		return err
	}
	if d.opts.NoCreate {
		return nil
	}
	// Where the tables are, nothing is touched: to look whether an index is missing takes
	// a lock that a prepared branch does not let through, and this is who would end it.
	var there bool
	err := d.finish.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL", d.q.branch, d.q.lowWater).Scan(&there)
	if err != nil {
		return fmt.Errorf("look for the tables: %w", safe(err))
	}
	if there {
		return nil
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
	return nil
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
	d.finish.Close()
}
