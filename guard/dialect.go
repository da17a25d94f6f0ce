package guard

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the SQL that a database speaks. The driver is the caller's choice.
type Dialect int

// The supported databases.
const (
	// SQLite is SQLite 3.24 or newer.
	SQLite Dialect = iota + 1
	// PostgreSQL is PostgreSQL 12 or newer.
	PostgreSQL
	// MariaDB is MariaDB 10.5 or newer. MySQL 8 is served by the same
	// statements, but not tested.
	MariaDB
)

// String returns the database's name.
func (d Dialect) String() string {
	if s, err := d.find(); err == nil {
		return s.name
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

func (d Dialect) find() (*dialect, error) {
	switch d {
	case SQLite:
		return &sqlite, nil
	case PostgreSQL:
		return &postgres, nil
	case MariaDB:
		return &mariadb, nil
	}
	return nil, fmt.Errorf("guard: dialect %d: want SQLite, PostgreSQL or MariaDB", int(d))
}

// dialect is all that differs between the databases.
type dialect struct {
	is   Dialect
	name string
	// isolation gives every statement a snapshot of its own. SQLite knows only
	// one level, and a transaction that begins with a write is alone.
	isolation sql.IsolationLevel
	// numbered: placeholders are $1, $2, …, not ?.
	numbered bool
	// insertIgnore stands around an INSERT that does nothing if the key exists:
	// an error instead would poison the transaction on PostgreSQL.
	insertVerb, insertTail string
	// losesTransactions: the server may roll a whole transaction back because of
	// one failed statement, go on in autocommit mode, and answer the final COMMIT
	// with OK. So the row must be seen once more before a COMMIT is believed.
	losesTransactions bool
	// listsFromReplica: reads may be answered by a replica that lags behind. A
	// statement that only a primary accepts must stand before a listing.
	listsFromReplica bool
	schema           string
	probe            func(ctx context.Context, db *sql.DB, allowLossy bool) error
	transient        func(err error) bool
}

var sqlite = dialect{
	is:         SQLite,
	name:       "SQLite",
	insertVerb: "INSERT", insertTail: " ON CONFLICT DO NOTHING",
	schema:    sqliteSchema,
	probe:     probeSQLite,
	transient: transientSQLite,
}

var postgres = dialect{
	is:         PostgreSQL,
	name:       "PostgreSQL",
	isolation:  sql.LevelReadCommitted,
	numbered:   true,
	insertVerb: "INSERT", insertTail: " ON CONFLICT DO NOTHING",
	listsFromReplica: true,
	schema:           postgresSchema,
	probe:            probePostgres,
	transient:        transientPostgres,
}

var mariadb = dialect{
	is:                MariaDB,
	name:              "MariaDB",
	isolation:         sql.LevelReadCommitted,
	insertVerb:        "INSERT IGNORE",
	losesTransactions: true,
	listsFromReplica:  true,
	schema:            mariadbSchema,
	probe:             probeMariaDB,
	transient:         transientMariaDB,
}

// bind rewrites ? into the dialect's placeholders. The statements are our own
// and hold no string literal with a question mark.
func (d *dialect) bind(query string) string {
	if !d.numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for _, c := range query {
		if c == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

func probeSQLite(ctx context.Context, db *sql.DB, allowLossy bool) error {
	var version, journal string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	var synchronous int
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if allowLossy {
		return nil
	}
	if j := strings.ToLower(journal); j == "memory" || j == "off" {
		return fmt.Errorf("journal_mode is %s: a crash may lose votes; use a file and journal_mode WAL or DELETE", j)
	}
	if synchronous < 2 {
		return fmt.Errorf("synchronous is %d: a power failure may lose votes; set PRAGMA synchronous=FULL on every connection", synchronous)
	}
	return nil
}

func probePostgres(ctx context.Context, db *sql.DB, allowLossy bool) error {
	var version int
	var fsync, synchronous string
	var standby bool
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int,
		current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery()`).
		Scan(&version, &fsync, &synchronous, &standby)
	switch {
	case err != nil:
		return err
	case version < 120000:
		return fmt.Errorf("server version %d: want 12 or newer", version)
	case standby:
		return fmt.Errorf("this server is a standby")
	case allowLossy:
		return nil
	case fsync == "off":
		return fmt.Errorf("fsync is off: a crash may lose votes")
	case synchronous == "off":
		return fmt.Errorf("synchronous_commit is off: a crash may lose votes; SET synchronous_commit = on for this role or database")
	}
	return nil
}

func probeMariaDB(ctx context.Context, db *sql.DB, allowLossy bool) error {
	var version string
	var flush int
	var autocommit bool
	err := db.QueryRowContext(ctx, "SELECT VERSION(), @@GLOBAL.innodb_flush_log_at_trx_commit, @@autocommit").Scan(&version, &flush, &autocommit)
	switch {
	case err != nil:
		return err
	case !autocommit:
		return fmt.Errorf("autocommit is off: every statement would leave its connection in a transaction; take it out of what the connections set")
	case allowLossy || flush == 1:
		return nil
	}
	return fmt.Errorf("innodb_flush_log_at_trx_commit is %d: a crash may lose votes; SET GLOBAL innodb_flush_log_at_trx_commit = 1", flush)
}
