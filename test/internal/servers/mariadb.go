package servers

import (
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
)

var mariadb = &kind{
	name: "MariaDB", debian: "mariadb-server", account: "mysql",
	driver: "mysql",
	stop:   syscall.SIGTERM,
	init: func(k *kind, data string, _ *Server) ([]string, error) {
		install, err := k.find("mariadb-install-db", "/usr/bin/mariadb-install-db")
		return []string{
			install, "--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal",
			"--skip-test-db", "--innodb-log-file-size=8M",
		}, err
	},
	command: func(k *kind, data string, s *Server) ([]string, error) {
		server, err := k.find("mariadbd", "/usr/sbin/mariadbd")
		return []string{
			server, "--no-defaults", "--datadir=" + data, "--socket=" + filepath.Join(s.Dir, "m.sock"),
			"--pid-file=" + filepath.Join(s.Dir, "m.pid"), "--port=" + strconv.Itoa(s.Port),
			"--bind-address=127.0.0.1", "--skip-name-resolve",
			"--innodb-flush-log-at-trx-commit=1", "--max-connections=200",
			// What it would set up for gigabytes at each of many starts.
			"--innodb-buffer-pool-size=16M", "--innodb-log-buffer-size=2M", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M",
		}, err
	},
	dsn: func(s *Server, database string) string {
		return fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s", s.Port, database)
	},
}

// MariaDB starts a MariaDB server. The superuser is "root", without a password. Settings
// are like "ssl-ca=FILE", and win over those that every server here has.
func MariaDB(t testing.TB, settings ...string) *Server {
	t.Helper()
	var args []string
	for _, s := range settings {
		args = append(args, "--"+s)
	}
	return start(t, mariadb, t.Cleanup, args...)
}

// SharedMariaDB returns the server that all tests of this process share: for tests
// that make a database of their own and neither stop nor reconfigure it.
func SharedMariaDB(t testing.TB) *Server {
	t.Helper()
	return mariadb.shared(t)
}
