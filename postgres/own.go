package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// own makes a pool like the application's, without what that does when it hands a
// connection out and takes it back. It connects when it is used. Its transactions may write,
// also where those of the role are read-only unless they say otherwise.
func own(ctx context.Context, pool *pgxpool.Pool, conns int32) (*pgxpool.Pool, error) {
	cfg := pool.Config() // a copy
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = conns, 0, 0
	cfg.PrepareConn, cfg.AfterRelease = nil, nil
	cfg.BeforeAcquire = nil //nolint:staticcheck // deprecated, and still called
	after := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if after != nil {
			if err := after(ctx, c); err != nil {
				return err
			}
		}
		if c.PgConn().ParameterStatus("default_transaction_read_only") != "on" { // told since PostgreSQL 14
			return nil
		}
		_, err := c.Exec(ctx, "SET default_transaction_read_only = off")
		return err
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}
