package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// speak returns the statements as this server takes them.
func speak(ctx context.Context, c driver.Connector, prefix string) (queries, error) {
	db := sql.OpenDB(c)
	defer db.Close()
	version, err := versionOf(ctx, db)
	if err != nil {
		return queries{}, fmt.Errorf("the server's settings cannot be read: %w", safe(err))
	}
	q := queriesOf(prefix, isMariaDB(version))
	var schema sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&schema); err != nil {
		return queries{}, fmt.Errorf("the server's settings cannot be read: %w", safe(err))
	}
	if schema.Valid {
		q = q.in(schema.String)
	}
	snapshots, err := texts(db.QueryContext(ctx, "SELECT VARIABLE_NAME FROM information_schema.SYSTEM_VARIABLES"+
		" WHERE VARIABLE_NAME = 'INNODB_SNAPSHOT_ISOLATION'"))
	if q.mariadb && err != nil {
		return queries{}, fmt.Errorf("the server's settings cannot be read: %w", safe(err))
	}
	if len(snapshots) > 0 {
		q.latest = "SET STATEMENT innodb_snapshot_isolation = 0 FOR "
	}
	return q, nil
}

func (d *Database) openFinish(c driver.Connector, isolation string, conns int) *sql.DB {
	db := sql.OpenDB(settled{c, []string{
		"SET SESSION TRANSACTION ISOLATION LEVEL " + isolation + ", READ WRITE",
		// What the server does with a commit, an empty text or a statement without a key is
		// not to depend on what an application likes. A host that vanishes leaves its session, and with it the lock on a branch that
		// was being finished, to the server, which waits for hours unless it is told.
		"SET SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN', SESSION sql_mode = 'STRICT_TRANS_TABLES'," +
			" SESSION innodb_lock_wait_timeout = 1, SESSION wait_timeout = 20",
		d.q.remember(),
	}})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(10 * time.Second)
	return db
}

// settled is a connector whose sessions have the settings that finishing needs, whatever
// the server's defaults and the application's are.
type settled struct {
	driver.Connector
	settings []string
}

// Connect implements driver.Connector.
func (c settled) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("mysql: the driver's connections have no ExecContext")
	}
	for _, set := range c.settings {
		if _, err := e.ExecContext(ctx, set, nil); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}
