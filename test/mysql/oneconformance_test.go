package mysql_test

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// telling is a connector whose sessions know the XID of the branch that they work for, in
// @xid: so one payload has an effect that tells the branches apart.
type telling struct{ driver.Connector }

func (c telling) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return tellingConn{conn.(all)}, nil
}

// all is what the driver's connections can do.
type all interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type tellingConn struct{ all }

func (c tellingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if text, ok := strings.CutPrefix(query, "XA START X'"); ok {
		xid, _, _ := strings.Cut(text, "'")
		if _, err := hex.DecodeString(xid); err != nil {
			return nil, err
		}
		if _, err := c.all.ExecContext(ctx, "SET @xid = X'"+xid+"'", nil); err != nil {
			return nil, err
		}
	}
	return c.all.ExecContext(ctx, query, args)
}

// insertMine is a payload whose effect is the XID of whatever branch executes it.
func insertMine(remark string, rows int64) []byte {
	return statements(mysql.Statement{SQL: "INSERT INTO token (xid) SELECT @xid FROM (SELECT ?) AS remark", Args: args(remark), Rows: &rows})
}

// oneSubject is a participant of the suite for one phase.
func (w *world) oneSubject(t *testing.T, server *servers.Server, opts *mysql.Options) dtctest.Subject {
	open := func() (*mysql.Database, error) {
		db, err := mysql.Open(t.Context(), "orders", openPool(t, telling{w.finish}), w.finish, opts)
		if err == nil {
			t.Cleanup(db.Close)
		}
		return db, err
	}
	db, err := open()
	if err != nil {
		t.Fatal(err)
	}
	return dtctest.Subject{
		Participant: db,
		Timeout:     2 * time.Minute, // its server has the lowest priority in a whole run
		Payload:     insertMine("", 1), PayloadAbort: insertMine("", 0),
		PayloadReadOnly: statements(mysql.Statement{SQL: "SELECT count(*) FROM token"}),
		Effect: func(x dtc.XID) (e dtctest.Effect, err error) {
			e.Held, e.Applied, err = w.effect(x, "orders")
			return e, err
		},
		Restart: func() (dtc.Participant, error) {
			server.Kill(t)
			server.Start(t)
			db, err = open()
			return db, err
		},
		Prune: func(ctx context.Context) error {
			_, err := db.Prune(ctx)
			return err
		},
	}
}

// The suite for one phase runs on a server that is killed.
func TestOneConformance(t *testing.T) {
	server := servers.MariaDB(t)
	w := newWorld(t, server)
	dtctest.TestOnePhaser(t, func(t *testing.T) dtctest.Subject {
		return w.oneSubject(t, server, &mysql.Options{PruneEvery: -1})
	})
}
