package mysql_test

import (
	"context"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// tokens lets each branch insert its XID, so that its effect can be seen.
type tokens struct{ *mysql.Database }

func (p tokens) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	one := int64(1)
	insert := mysql.Statement{SQL: "INSERT INTO token (xid) VALUES (?)", Args: args(b.XID.String()), Rows: &one}
	switch string(b.Payload) {
	case "abort":
		none := int64(0)
		insert.Rows = &none
	case "read-only":
		insert = mysql.Statement{SQL: "SELECT count(*) FROM token"}
	}
	b.Payload = statements(insert)
	return p.Database.Prepare(ctx, b)
}

// The suite runs on a server that is killed, with rows dropped by themselves now and
// then, and at once when told.
func TestConformance(t *testing.T) {
	for name, opts := range map[string]*mysql.Options{"PruneByItself": nil, "PruneAtOnce": {PruneEvery: -1}} {
		t.Run(name, func(t *testing.T) {
			server := servers.MariaDB(t)
			w := newWorld(t, server)
			dtctest.TestParticipant(t, func(t *testing.T) dtctest.Subject {
				db := w.participant(t, "orders", opts)
				s := dtctest.Subject{
					Participant:  tokens{db},
					Timeout:      2 * time.Minute, // its server has the lowest priority in a whole run
					PayloadAbort: []byte("abort"), PayloadReadOnly: []byte("read-only"),
					Effect: func(x dtc.XID) (e dtctest.Effect, err error) {
						e.Held, e.Applied, err = w.effect(x, "orders")
						return e, err
					},
					Rows: func(log dtc.LogID) (n int, err error) {
						all, err := w.prepared()
						if err != nil {
							return 0, err
						}
						err = w.admin.QueryRow("SELECT COUNT(*) FROM dtc_branch WHERE log = ?", log.String()).Scan(&n)
						for _, data := range all {
							if x := "dtc." + log.String() + "."; len(data) > len(x) && data[:len(x)] == x {
								n++
							}
						}
						return n, err
					},
					Restart: func() (dtc.Participant, error) {
						server.Kill(t)
						server.Start(t)
						db, err := mysql.Open(t.Context(), "orders", w.pool, w.finish, opts)
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
			})
		})
	}
}
