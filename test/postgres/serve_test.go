package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/serving"
	"github.com/dtc-project/dtc/test/internal/wire"
)

func newBank(t *testing.T, server *servers.Server) *serving.Bank {
	t.Helper()
	b, _ := newBankOf(t, server)
	return b
}

func newBankOf(t *testing.T, server *servers.Server) (*serving.Bank, *world) {
	t.Helper()
	w := &world{server: server, name: servers.NewName()}
	server.NewDatabase(t, w.name)
	w.dsn = server.DSN(w.name)
	w.pool = openPool(t, w.dsn)
	w.exec(t, "CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0))")
	w.exec(t, "INSERT INTO account VALUES ('alice', 100)")
	return &serving.Bank{
		URL: w.dsn, Kind: "postgres", Server: server,
		Take:    "UPDATE account SET balance = balance - $1::int WHERE balance >= $1::int",
		Give:    "UPDATE account SET balance = balance + $1::int",
		Wrong:   "SELECT $1::int",
		Balance: func() int { return w.count(t, "SELECT sum(balance) FROM account") },
		Prepared: func() int {
			return w.count(t, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()")
		},
		Prepare: func(xid dtc.XID, _ dtc.TxID, participant string, amount int) {
			conn, err := w.pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Release()
			for _, sql := range []string{
				"BEGIN", fmt.Sprintf("UPDATE account SET balance = balance + %d", amount),
				"PREPARE TRANSACTION '" + postgres.Name(xid, participant) + "'",
			} {
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
		},
	}, w
}

// held makes the bank's database be reached through a proxy that holds a statement.
func held(t *testing.T, b *serving.Bank, w *world, statement string) serving.Held {
	t.Helper()
	proxy, err := wire.New(wire.Postgres, w.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	b.URL = w.server.Through(proxy.Port(), w.name)
	trap := proxy.Arm(statement, 1, wire.StallRequest)
	return serving.Held{Come: trap.Hit(), LetGo: trap.Release}
}

func TestServe(t *testing.T) {
	server := servers.Postgres(t)
	serving.Pays(t, newBank(t, server), newBank(t, server))
}

func TestServeAdopts(t *testing.T) {
	server := servers.SharedPostgres(t)
	serving.Adopts(t, newBank(t, server), newBank(t, server))
}

func TestServeKilledBefore(t *testing.T) {
	server := servers.SharedPostgres(t)
	two, w := newBankOf(t, server)
	serving.KilledBefore(t, newBank(t, server), two, held(t, two, w, "PREPARE TRANSACTION"))
}

func TestServeKilledBetween(t *testing.T) {
	server := servers.SharedPostgres(t)
	two, w := newBankOf(t, server)
	serving.KilledBetween(t, newBank(t, server), two, held(t, two, w, "COMMIT PREPARED"))
}

// withPassword puts one into an address, for a server that asks for none.
func withPassword(url string) string {
	return strings.Replace(url, "postgres@", "postgres:hunter2@", 1)
}

func TestServeRefuses(t *testing.T) {
	server := servers.Postgres(t, "max_prepared_transactions=0")
	serving.Refused(t, withPassword(newBank(t, server).URL), "ALTER SYSTEM SET max_prepared_transactions = ")

	b, w := newBankOf(t, servers.SharedPostgres(t))
	serving.Examined(t, b.URL)
	if tables := w.count(t, "SELECT count(*) FROM pg_class WHERE relname LIKE 'dtc%'"); tables != 0 {
		t.Errorf("a look has left %d tables", tables)
	}
	role := servers.NewName() + "_little"
	w.exec(t, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { w.exec(t, "DROP ROLE "+role) })
	w.exec(t, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	serving.Refused(t, strings.Replace(b.URL, "postgres@", role+":hunter2@", 1), "GRANT CREATE ON SCHEMA")
}

func TestServeReloads(t *testing.T) {
	server := servers.Postgres(t, "max_prepared_transactions=0")
	shared := servers.SharedPostgres(t)
	serving.Reloads(t, newBank(t, shared), newBank(t, shared), withPassword(newBank(t, server).URL), "ALTER SYSTEM SET max_prepared_transactions = ", func() {
		server.Stop(t)
		server.Reconfigure("max_prepared_transactions=10")
		server.Start(t)
	})
}

// TestGuide does what the guide shows to those who prepare by themselves.
func TestGuide(t *testing.T) {
	b, w := newBankOf(t, servers.SharedPostgres(t))
	w.exec(t, "CREATE TABLE orders (item text, n int)")
	said := serving.Start(t, "orders="+b.URL).Guided(t, "postgresql.md",
		"psql ", fmt.Sprintf("psql -h 127.0.0.1 -p %d -U postgres ", w.server.Port), "ON_ERROR_STOP=1 orders", "ON_ERROR_STOP=1 "+w.name)
	if n := w.count(t, "SELECT sum(n) FROM orders"); n != 2 || !strings.Contains(said, `"outcome":"committed"`) {
		t.Errorf("%d were ordered: %s", n, said)
	}
}
