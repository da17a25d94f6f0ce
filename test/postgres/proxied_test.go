package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// proxied is the database of a world behind a proxy that loses connections.
type proxied struct {
	proxy *wire.Proxy
	dsn   string
	pool  *pgxpool.Pool
	db    *postgres.Database
}

// close gives the server its connections back before the test ends: it has not so many.
func (p *proxied) close() {
	p.db.Close()
	p.pool.Close()
}

// proxy opens the database as a participant behind a proxy of its own.
func (w *world) proxy(t *testing.T, id, settings string) (*proxied, error) {
	proxy, err := wire.New(wire.Postgres, w.server.Addr())
	if err != nil {
		return nil, err
	}
	t.Cleanup(proxy.Close)
	p := &proxied{proxy: proxy, dsn: w.server.Through(proxy.Port(), w.name) + settings}
	if p.pool, err = pgxpool.New(t.Context(), p.dsn); err != nil {
		return nil, err
	}
	t.Cleanup(p.pool.Close)
	if p.db, err = postgres.Open(t.Context(), id, p.pool, nil); err == nil {
		t.Cleanup(p.db.Close)
	}
	return p, err
}

// listed reports whether a transaction is prepared under that name.
func (w *world) listed(gid string) (listed bool, err error) {
	err = w.pool.QueryRow(context.Background(), "SELECT EXISTS (SELECT 1 FROM pg_prepared_xacts WHERE gid = $1)", gid).Scan(&listed)
	return listed, err
}

var errNever = errors.New("it never happened")

// poll waits until something is so.
func poll(ctx context.Context, is func() (bool, error)) error {
	for range 3000 {
		if yes, err := is(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errNever
}
