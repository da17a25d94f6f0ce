// Package mysql_test tries MariaDB as a participant against real servers.
package mysql_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/grind"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

func TestMain(m *testing.M) {
	_ = mysqldriver.SetLogger(log.New(io.Discard, "", 0)) // killed servers and sessions are meant
	switch {
	case grind.IsChild():
		os.Exit(grind.Child(openBank))
	case grind.IsDoubtChild():
		os.Exit(grind.DoubtChild(openLeaver, func(int64) []byte { return nil }))
	}
	os.Exit(servers.Main(m))
}

// world is a server with one database, taking part as "orders".
type world struct {
	server *servers.Server
	name   string // the schema's
	dsn    string
	finish driver.Connector
	pool   *sql.DB
	admin  *sql.DB // not the participant's
	db     *mysql.Database
	log    dtc.LogID
}

func newWorld(t *testing.T, server *servers.Server) *world {
	t.Helper()
	w := newDatabase(t, server)
	w.db = w.participant(t, "orders", nil)
	return w
}

// newTwoPhases makes a world in which a transaction of one branch takes two phases too.
func newTwoPhases(t *testing.T, server *servers.Server) *world {
	t.Helper()
	w := newDatabase(t, server)
	w.db = w.participant(t, "orders", &mysql.Options{TwoPhases: true})
	return w
}

// newDatabase makes a world that takes no part yet.
func newDatabase(t *testing.T, server *servers.Server) *world {
	t.Helper()
	name := servers.NewName()
	w := &world{server: server, name: name, dsn: server.DSN(name), admin: server.NewDatabase(t, name), finish: connector(t, server.DSN(name))}
	w.pool = openPool(t, w.finish)
	_, _ = rand.Read(w.log[:]) // never fails
	w.exec(t, "CREATE TABLE token (xid varchar(64) NOT NULL) ENGINE=InnoDB")
	return w
}

func connector(t *testing.T, dsn string) driver.Connector {
	t.Helper()
	cfg, err := mysqldriver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := mysqldriver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openPool(t *testing.T, c driver.Connector) *sql.DB {
	t.Helper()
	pool := sql.OpenDB(c)
	t.Cleanup(func() { pool.Close() })
	return pool
}

func (w *world) participant(t *testing.T, id string, opts *mysql.Options) *mysql.Database {
	t.Helper()
	db, err := mysql.Open(t.Context(), id, w.pool, w.finish, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := w.admin.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := w.admin.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// prepared lists what is prepared in the server, each as gtrid and bqual in one text.
func (w *world) prepared() (all []string, err error) {
	rows, err := w.admin.Query("XA RECOVER")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var format, gtrid, bqual int
		var data string
		if err := rows.Scan(&format, &gtrid, &bqual, &data); err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, rows.Err()
}

// effect is what can be seen of a branch from outside.
func (w *world) effect(x dtc.XID, id string) (held bool, applied int, err error) {
	all, err := w.prepared()
	for _, data := range all {
		held = held || data == x.String()+id
	}
	if err == nil {
		err = w.admin.QueryRow("SELECT COUNT(*) FROM token WHERE xid = ?", x.String()).Scan(&applied)
	}
	return held, applied, err
}

// statements makes a payload of statements.
func statements(list ...mysql.Statement) []byte {
	b, err := json.Marshal(mysql.Statements{Statements: list})
	if err != nil {
		panic(err)
	}
	return b
}

func args(list ...any) (all []json.RawMessage) {
	for _, v := range list {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		all = append(all, b)
	}
	return all
}

func open(t *testing.T, list ...dtc.Participant) *dtc.Coordinator {
	t.Helper()
	c, err := dtc.Open(filepath.Join(t.TempDir(), "log"), &dtc.Config{
		Participants: list, SweepInterval: time.Second,
		// The machine may be slow, and somebody waits for what was not possible at first.
		Timing: dtc.Timing{PrepareTimeout: wire.Enough, PrepareAttempt: 10 * time.Second, FinishBackoffCap: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 6000 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// branch names a branch of a log of the test's own.
func (w *world) branch(seq uint64) dtc.Branch {
	x := dtc.XID{Log: w.log, Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Seq: seq}
	return dtc.Branch{Participant: "orders", XID: x, TxID: dtc.TxID(fmt.Sprintf("tx-%d", seq)), Payload: insertToken(x), Attempt: 1}
}

func insertToken(x dtc.XID) []byte {
	one := int64(1)
	return statements(mysql.Statement{SQL: "INSERT INTO token (xid) VALUES (?)", Args: args(x.String()), Rows: &one})
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// discard closes a connection for good.
func discard(conn *sql.Conn) error {
	if err := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
		return err
	}
	return nil
}

// numberOf returns the number of a server's error, 0 if it is none.
func numberOf(err error) int {
	var e *mysqldriver.MySQLError
	if errors.As(err, &e) {
		return int(e.Number)
	}
	return 0
}

// run runs a transaction of one branch.
func run(t *testing.T, c *dtc.Coordinator, db *mysql.Database, id string, fn func(ctx context.Context, q *mysql.Tx) error) error {
	return c.Run(t.Context(), dtc.TxID(id), func(ctx context.Context, tx *dtc.Tx) error { return db.Do(ctx, tx, fn) })
}
