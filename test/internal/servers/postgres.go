package servers

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

var postgres = &kind{
	name: "PostgreSQL", debian: "postgresql", account: "postgres",
	driver: "pgx",
	stop:   syscall.SIGINT, // fast: does not wait for clients
	init: func(k *kind, data string, _ *Server) ([]string, error) {
		initdb, err := k.find("initdb", "/usr/lib/postgresql/*/bin/initdb")
		return []string{initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"}, err
	},
	command: func(k *kind, data string, s *Server) ([]string, error) {
		server, err := k.find("postgres", "/usr/lib/postgresql/*/bin/postgres")
		return []string{
			server, "-D", data, "-k", s.Dir, "-p", strconv.Itoa(s.Port),
			"-c", "listen_addresses=127.0.0.1", "-c", "max_prepared_transactions=64", "-c", "max_connections=200",
		}, err
	},
	dsn: func(s *Server, database string) string {
		if database == "" {
			database = "postgres"
		}
		return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
	},
}

// Postgres starts a PostgreSQL server with prepared transactions enabled. The
// superuser is "postgres", without a password.
func Postgres(t testing.TB) *Server {
	t.Helper()
	return start(t, postgres, t.Cleanup)
}

// SharedPostgres returns the server that all tests of this process share: for tests
// that make a database of their own and neither stop nor reconfigure it.
func SharedPostgres(t testing.TB) *Server {
	t.Helper()
	return postgres.shared(t)
}
