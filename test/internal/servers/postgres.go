package servers

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
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
			"-c", "dynamic_shared_memory_type=mmap", // in the data directory: what a killed server leaves goes with it
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
// superuser is "postgres", without a password. Settings are like "fsync=off", and win
// over those that every server here has; a later one wins over an earlier one.
func Postgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, postgres, t.Cleanup, flags(settings)...)
}

// Reconfigure adds settings to those of a PostgreSQL server that is not running.
func (s *Server) Reconfigure(settings ...string) { s.args = append(s.args, flags(settings)...) }

func flags(settings []string) (args []string) {
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// Standby starts a streaming standby of a PostgreSQL server, which knows it under that
// name.
func (s *Server) Standby(t testing.TB, name string) *Server {
	t.Helper()
	standby := newServer(t, s.kind, t.Cleanup, slices.Clone(s.args))
	backup, err := s.kind.find("pg_basebackup", "/usr/lib/postgresql/*/bin/pg_basebackup")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(backup, "-D", standby.data(), "-X", "stream", "-c", "fast", "-R", "--no-sync",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", s.Port, name))
	cmd.Dir, cmd.SysProcAttr = standby.Dir, s.kind.attr()
	cmd.SysProcAttr.Pdeathsig = 0 // ends by itself
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	t.Cleanup(standby.stop)
	standby.Start(t)
	return standby
}

// Addr returns the server's host and port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// Through returns the data source name of a database behind something else that listens
// on that port of 127.0.0.1.
func (s *Server) Through(port int, database string) string {
	return s.kind.dsn(&Server{Port: port, kind: s.kind}, database)
}

// Freeze stops all processes of the server with SIGSTOP, until the function that it
// returns is called: it neither answers nor closes anything.
func (s *Server) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	pids := s.processes()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return sync.OnceFunc(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
}

// processes returns the server's processes. Those of PostgreSQL have sessions of their
// own, but remain children of the first one.
func (s *Server) processes() []int {
	first := s.cmd.Process.Pid
	all := []int{first}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
	for _, f := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(f); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// SharedPostgres returns the server that all tests of this process share: for tests
// that make a database of their own and neither stop nor reconfigure it.
func SharedPostgres(t testing.TB) *Server {
	t.Helper()
	return postgres.shared(t)
}
