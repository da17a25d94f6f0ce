// Package guard_test tests package guard against real databases.
package guard_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/servers"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childDatabase); path != "" {
		os.Exit(prepareAndWait(path))
	}
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // killed servers are meant
	os.Exit(servers.Main(m))
}

// database is one empty database.
type database struct {
	dialect guard.Dialect
	db      *sql.DB
	name    string
	server  *servers.Server // nil for SQLite, whose server is the test itself
}

func openSQLite(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func sqliteDSN(path string) string {
	return "file:" + path + "?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
}

// onEach runs a test against a fresh database of each kind, on servers that the
// tests share.
func onEach(t *testing.T, f func(t *testing.T, d *database)) {
	t.Run("SQLite", func(t *testing.T) {
		f(t, &database{dialect: guard.SQLite, db: openSQLite(t, filepath.Join(t.TempDir(), "test.db"))})
	})
	t.Run("PostgreSQL", func(t *testing.T) { f(t, newDatabase(t, guard.PostgreSQL, servers.SharedPostgres(t))) })
	t.Run("MariaDB", func(t *testing.T) { f(t, newDatabase(t, guard.MariaDB, servers.SharedMariaDB(t))) })
}

// onOwnServer runs a test against servers of its own, which it may kill and
// reconfigure.
func onOwnServer(t *testing.T, f func(t *testing.T, d *database)) {
	t.Run("PostgreSQL", func(t *testing.T) { f(t, newDatabase(t, guard.PostgreSQL, servers.Postgres(t))) })
	t.Run("MariaDB", func(t *testing.T) { f(t, newDatabase(t, guard.MariaDB, servers.MariaDB(t))) })
}

func newDatabase(t *testing.T, dialect guard.Dialect, s *servers.Server) *database {
	name := servers.NewName()
	d := &database{dialect: dialect, server: s, name: name, db: s.NewDatabase(t, name)}
	d.db.SetMaxIdleConns(16)
	return d
}

// crash kills the server and starts it again.
func (d *database) crash(t testing.TB) {
	d.server.Kill(t)
	d.server.Start(t)
	tally.Add(t, "guard", "database servers killed", 1, 1)
	// The idle connections are dead; each would fail one call first.
	d.db.SetMaxIdleConns(0)
	d.db.SetMaxIdleConns(16)
}

// q writes a query with ? in the dialect's placeholders.
func (d *database) q(query string) string {
	if d.dialect != guard.PostgreSQL {
		return query
	}
	var b strings.Builder
	n := 0
	for _, c := range query {
		if c == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func (d *database) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := d.db.Exec(d.q(query), args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func (d *database) int(t testing.TB, query string, args ...any) int {
	t.Helper()
	n, err := d.count(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (d *database) count(query string, args ...any) (n int, err error) {
	err = d.db.QueryRow(d.q(query), args...).Scan(&n)
	return n, err
}

// execTx is exec inside a participant function.
func (d *database) execTx(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, d.q(query), args...)
	return err
}

func newGuard(t testing.TB, id string, d *database, f guard.Funcs, o *guard.Options) *guard.Guard {
	t.Helper()
	g, err := guard.New(t.Context(), id, d.db, d.dialect, f, o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// names makes the branches of one log of its own.
type names struct {
	log         dtc.LogID
	participant string
}

func newNames(participant string) names {
	n := names{participant: participant}
	rand.Read(n.log[:])
	return n
}

func (n names) xid(seq uint64) dtc.XID {
	return dtc.XID{Log: n.log, Incarnation: dtc.Incarnation{Number: 2, Nonce: 0xabc}, Seq: seq}
}

func (n names) branch(seq uint64) dtc.Branch {
	return dtc.Branch{
		Participant: n.participant, XID: n.xid(seq),
		TxID: dtc.TxID(fmt.Sprintf("tx-%s-%d", n.log, seq)), Attempt: 1,
	}
}
