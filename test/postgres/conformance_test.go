package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// tokens lets each branch insert its XID, so that its effect can be seen. The payload is the
// same for every XID: the connection is told which one it is.
type tokens struct{ *postgres.Database }

type xidKey struct{}

// tellXID is for a pool, which calls it before it hands out a connection.
func tellXID(ctx context.Context, conn *pgx.Conn) (bool, error) {
	xid, ok := ctx.Value(xidKey{}).(dtc.XID)
	if !ok {
		return true, nil
	}
	_, err := conn.Exec(ctx, "SELECT set_config('test.xid', $1, false)", xid.String())
	return err == nil, err
}

func (tokens) work(ctx context.Context, b dtc.Branch) (context.Context, dtc.Branch) {
	one := int64(1)
	insert := postgres.Statement{SQL: "INSERT INTO token (xid) VALUES (current_setting('test.xid'))", Rows: &one}
	switch string(b.Payload) {
	case "":
		return ctx, b
	case "other":
		insert.Rows = nil
	case "abort":
		none := int64(0)
		insert.Rows = &none
	case "read-only":
		insert = postgres.Statement{SQL: "SELECT count(*) FROM token"}
	}
	b.Payload = statements(insert)
	return context.WithValue(ctx, xidKey{}, b.XID), b
}

func (p tokens) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	return p.Database.Prepare(p.work(ctx, b))
}

func (p tokens) CanOnePhase(b dtc.Branch) bool {
	_, b = p.work(context.Background(), b)
	return p.Database.CanOnePhase(b)
}

func (p tokens) CommitOnePhase(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	return p.Database.CommitOnePhase(p.work(ctx, b))
}

func (p tokens) Settle(ctx context.Context, b dtc.Branch) (dtc.Outcome, error) {
	return p.Database.Settle(p.work(ctx, b))
}

// The suite runs on a server that is killed, with rows dropped by themselves now and
// then, and at once when told.
func TestConformance(t *testing.T) {
	for name, opts := range map[string]*postgres.Options{"PruneByItself": nil, "PruneAtOnce": {PruneEvery: -1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has a server of its own
			server := servers.Postgres(t)
			w := newWorld(t, server)
			cfg := w.pool.Config()
			cfg.PrepareConn = tellXID
			pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			w.pool = pool
			subject := func(t *testing.T) dtctest.Subject {
				db := w.participant(t, "orders", opts)
				s := dtctest.Subject{
					Timeout:     2 * time.Minute, // its server has the lowest priority in a whole run
					Participant: tokens{db}, Payload: []byte("commit"),
					PayloadAbort: []byte("abort"), PayloadReadOnly: []byte("read-only"),
					Effect: func(x dtc.XID) (e dtctest.Effect, err error) {
						e.Held, e.Applied, err = w.effect(x, "orders")
						return e, err
					},
					Rows: func(log dtc.LogID) (n int, err error) {
						err = w.pool.QueryRow(context.Background(), `SELECT (SELECT count(*) FROM dtc_branch WHERE log = $1)
							+ (SELECT count(*) FROM pg_prepared_xacts WHERE starts_with(gid, 'dtc.' || $1))`, log.String()).Scan(&n)
						return n, err
					},
					Restart: func() (dtc.Participant, error) {
						server.Kill(t)
						server.Start(t)
						w.pool.Reset()
						db, err := postgres.Open(t.Context(), "orders", w.pool, opts)
						if err == nil {
							t.Cleanup(db.Close)
						}
						return tokens{db}, err
					},
				}
				if opts != nil {
					s.Rounds = 2 // races, which are not about rows that go
					s.Prune = func(ctx context.Context) error {
						_, err := db.Prune(ctx)
						return err
					}
				}
				return s
			}
			dtctest.TestParticipant(t, subject)
			dtctest.TestOnePhaser(t, subject)
		})
	}
}
