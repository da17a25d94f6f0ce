package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

var pgbouncer = &kind{
	name: "PgBouncer", debian: "pgbouncer", account: "postgres",
	driver: "pgx",
	stop:   syscall.SIGTERM, // at once
	command: func(k *kind, _ string, s *Server) ([]string, error) {
		pooler, err := k.find("pgbouncer", "/usr/sbin/pgbouncer")
		return []string{pooler, filepath.Join(s.Dir, "pgbouncer.ini")}, err
	},
	dsn: func(s *Server, database string) string {
		return postgres.dsn(s, database) + "&default_query_exec_mode=exec" // it keeps no prepared statements
	},
}

const pgbouncerSettings = `[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = %s
default_pool_size = 20
`

// PgBouncer starts a pooler before a PostgreSQL server, in the given mode: session,
// transaction or statement.
func (s *Server) PgBouncer(t testing.TB, mode string) *Server {
	t.Helper()
	p := newServer(t, pgbouncer, t.Cleanup, nil)
	users := filepath.Join(p.Dir, "users")
	settings := fmt.Sprintf(pgbouncerSettings, s.Port, p.Port, users, mode)
	for name, text := range map[string]string{users: `"postgres" ""` + "\n", filepath.Join(p.Dir, "pgbouncer.ini"): settings} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(p.stop)
	p.Start(t)
	return p
}
