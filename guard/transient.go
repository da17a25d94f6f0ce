package guard

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"reflect"

	"github.com/dtc-project/dtc"
)

// IsTransient reports whether an error of a Prepare function says nothing about
// the branch: the context ended, the connection was lost, or the database
// answered with the code of a deadlock, a serialization failure, a lock not
// granted in time, a shutdown, a full connection table or a read-only server.
//
// Codes are read from the driver's error as pgx, lib/pq, go-sql-driver/mysql,
// modernc.org/sqlite and mattn/go-sqlite3 give them; texts are never looked at.
func (d Dialect) IsTransient(err error) bool {
	s, unknown := d.find()
	return err != nil && (isGone(err) || unknown == nil && s.transient(err))
}

func (g *Guard) isTransient(err error) bool {
	return g.d.is.IsTransient(err) || g.opts.Transient != nil && g.opts.Transient(err)
}

func isGone(err error) bool {
	for _, target := range []error{
		dtc.ErrNoAnswer, context.DeadlineExceeded, context.Canceled, driver.ErrBadConn,
		sql.ErrConnDone, sql.ErrTxDone, io.ErrUnexpectedEOF, io.EOF, net.ErrClosed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	var n net.Error
	return errors.As(err, &n)
}

func transientPostgres(err error) bool {
	var e interface{ SQLState() string }
	if !errors.As(err, &e) || len(e.SQLState()) != 5 {
		return false
	}
	switch e.SQLState() {
	case "40001", "40P01", // serialization failure, deadlock
		"55P03",                   // lock not available
		"57014",                   // cancelled, by us or by a timeout of the server
		"57P01", "57P02", "57P03", // shutting down, crashed, starting
		"25006",          // read-only: a standby after a failover
		"25P03", "25P04": // the session or the transaction took too long
		return true
	}
	switch e.SQLState()[:2] {
	case "08", "53": // connection; out of connections, memory, disk
		return true
	}
	return false
}

// The numbers of MariaDB's and MySQL's errors.
var transientNumbers = map[uint64]bool{
	1205: true, 1213: true, // lock wait timeout, deadlock
	1020: true,                                     // row changed since the snapshot
	1040: true, 1203: true, 1226: true, 1041: true, // out of connections or memory
	1053: true, 1079: true, 1080: true, // shutting down
	1158: true, 1159: true, 1160: true, 1161: true, // network
	1317: true, 1927: true, 1969: true, 3024: true, // interrupted, killed, took too long
	1290: true, 1836: true, 1792: true, // read-only: a replica after a failover
	1047: true,             // cluster node not ready
	2006: true, 2013: true, // connection lost
}

func transientMariaDB(err error) bool {
	n, ok := numberIn(err, "Number")
	return ok && transientNumbers[n]
}

func transientSQLite(err error) bool {
	var e interface{ Code() int }
	code, ok := uint64(0), false
	if errors.As(err, &e) {
		code, ok = uint64(e.Code()), true
	} else {
		code, ok = numberIn(err, "Code")
	}
	if !ok {
		return false
	}
	switch code & 0xff { // the rest is the extended code
	case 5, 6, 9, // busy, locked, interrupted
		7, 10, 13, 14, 15: // out of memory, i/o error, full, cannot open, locking protocol
		return true
	}
	return false
}

// undoneBefore reports whether a rollback has failed because there was nothing to roll back
// any more: SQLite has done so where a trigger, a constraint or a full disk made it.
func (d *dialect) undoneBefore(err error) bool {
	var e interface{ Code() int }
	return d.is == SQLite && errors.As(err, &e) && e.Code() == 1
}

// numberIn looks for an error in err's tree that is a struct with the named
// integer field. Two common drivers give their code in no other way, and this
// package imports no driver.
func numberIn(err error, field string) (uint64, bool) {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() == reflect.Struct {
		f := v.FieldByName(field)
		switch {
		case f.CanUint():
			return f.Uint(), true
		case f.CanInt():
			return uint64(f.Int()), true
		}
	}
	switch u := err.(type) { //nolint:errorlint // it walks the chain itself, looking for a field
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			return numberIn(inner, field)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			if n, ok := numberIn(inner, field); ok {
				return n, true
			}
		}
	}
	return 0, false
}
