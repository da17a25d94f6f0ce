package database

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc/postgres"
)

var postgreSQL = kind{
	name: "postgres", tls: "sslmode, sslrootcert, sslcert, sslkey",
	check: checkPostgres, open: openPostgres, look: lookPostgres,
}

func checkPostgres(u *url.URL) error {
	_, err := pgConfig(u.String())
	return err
}

// pgConfig reads a URL as libpq does, with what the environment adds to it.
func pgConfig(rawURL string) (*pgxpool.Config, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("its url cannot be read")
	}
	// What is said about a mistake shows the URL: it is read without its password.
	password, given := u.User.Password()
	if given {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	if q.Has("password") {
		password, given = q.Get("password"), true
		q.Del("password")
		u.RawQuery = q.Encode()
	}
	cfg, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("its url cannot be used: %w", err)
	}
	if given {
		cfg.ConnConfig.Password = password
	}
	return cfg, nil
}

func pgPool(ctx context.Context, s *Source) (*pgxpool.Pool, error) {
	cfg, err := pgConfig(s.URL)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(s.URL); err == nil && !u.Query().Has("pool_max_conns") && s.Conns > 0 {
		cfg.MaxConns = int32(min(s.Conns, 1<<15))
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "dtc"
	}
	if s.Password != nil {
		cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) (err error) {
			c.Password, err = s.Password()
			return err
		}
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// pgDatabase closes the pool that was made for it.
type pgDatabase struct {
	*postgres.Database
	pool *pgxpool.Pool
}

func (d *pgDatabase) Close() {
	d.Database.Close()
	d.pool.Close()
}

func openPostgres(ctx context.Context, id string, s *Source) (opened, error) {
	pool, err := pgPool(ctx, s)
	if err != nil {
		return nil, err
	}
	d, err := postgres.Open(ctx, id, pool, nil)
	if err != nil {
		pool.Close()
		const insufficientPrivilege = "42501"
		var answer *postgres.ServerError
		switch {
		case errors.Is(err, postgres.ErrUnusable):
			err = unusable(err, postgres.ErrUnusable)
		case errors.As(err, &answer) && answer.Code == insufficientPrivilege:
			found, _ := lookPostgres(ctx, s)
			err = forbidden(found, err)
		}
		return nil, err
	}
	return &pgDatabase{d, pool}, nil
}

func lookPostgres(ctx context.Context, s *Source) ([]Finding, error) {
	pool, err := pgPool(ctx, s)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	found, err := postgres.Look(ctx, pool, nil)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, f := range found {
		all = append(all, Finding{Bad: f.Fatal || f.Lossy, What: f.Setting + " is " + f.Value, Advice: f.Remedy})
	}
	return all, nil
}
