package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/grind"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// TestGrind moves money between two databases while everything is killed; see the package
// grind.
func TestGrind(t *testing.T) {
	var sides [2]*grind.Side
	for i := range sides {
		w := newWorld(t, servers.Postgres(t))
		sides[i] = &grind.Side{Server: w.server, Name: w.name, DB: w.server.Open(t, w.name), Clean: func() {
			w.pool.Reset()
			w.clean(t)
		}}
	}
	grind.Test(t, grind.Kind{
		Name: "PostgreSQL", Protocol: wire.Postgres, Texts: []string{atPrepare, atCommit, atRollback, atSeal},
		DSN: func(dsn string) string { return dsn + "&pool_max_conns=16&connect_timeout=5" },
	}, sides)
}

// TestRecovery finishes what a killed coordinator has left; see the package grind.
// DTC_IN_DOUBT says how many branches.
func TestRecovery(t *testing.T) {
	branches := grind.FromEnv(t, "DTC_IN_DOUBT", 500)
	w := newWorld(t, servers.Postgres(t, fmt.Sprintf("max_prepared_transactions=%d", branches+100)))
	grind.TestDoubt(t, grind.Doubt{
		Name: "PostgreSQL", DSN: w.dsn + "&pool_max_conns=32", Branches: branches, DB: w.db,
		Prepared:  func() int { return w.count(t, "SELECT count(*) FROM pg_prepared_xacts") },
		Committed: func() int { return w.count(t, "SELECT count(*) FROM token") },
	})
	w.clean(t)
}

// doubtful is the payload of a branch that is left in doubt.
func doubtful(i int64) []byte {
	return statements(postgres.Statement{SQL: "INSERT INTO token (xid) VALUES ($1)", Args: args(i)})
}

func openDoubtful(ctx context.Context, dsn string) (dtc.Participant, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, "orders", pool, nil)
}

// bank is a database that money is moved from and to.
type bank struct {
	*postgres.Database
	pool *pgxpool.Pool
}

func openBank(ctx context.Context, id, dsn string) (grind.Bank, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, id, pool, &postgres.Options{PruneEvery: 64})
	if err != nil {
		pool.Close()
	}
	return bank{db, pool}, err
}

func (p bank) Ping(ctx context.Context) error { return p.pool.Ping(ctx) }

func (p bank) Move(ctx context.Context, tx *dtc.Tx, m grind.Move) error {
	const move, row = "UPDATE account SET balance = balance + $1 WHERE id = $2", "INSERT INTO moved (id, amount) VALUES ($1, $2)"
	work := func(ctx context.Context, q pgx.Tx) error {
		if _, err := q.Exec(ctx, move, m.Amount, m.Account); err != nil {
			return err
		}
		_, err := q.Exec(ctx, row, m.ID, m.Amount)
		return err
	}
	switch m.Way {
	case grind.Statements:
		return tx.Enlist(p.ID(), statements(
			postgres.Statement{SQL: move, Args: args(m.Amount, m.Account)}, postgres.Statement{SQL: row, Args: args(m.ID, m.Amount)}))
	case grind.Adopted:
		return p.adopt(ctx, tx, work)
	}
	return p.Do(ctx, tx, work)
}

// adopt does the work and prepares it by itself, on a connection of its own, and leaves it to
// the coordinator what has become of that.
func (p bank) adopt(ctx context.Context, tx *dtc.Tx, work func(context.Context, pgx.Tx) error) error {
	if err := tx.Enlist(p.ID(), []byte(`{"adopted":true}`)); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, p.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	q, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if err := work(ctx, q); err != nil {
		return err
	}
	_, _ = conn.Exec(ctx, "PREPARE TRANSACTION '"+postgres.Name(tx.XID(), p.ID())+"'")
	return nil
}
