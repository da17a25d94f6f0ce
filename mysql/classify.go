package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc"
)

// Errors of the server that mean something here.
const (
	codeNull       = 1048
	codeDuplicate  = 1062
	codeNoThread   = 1094 // KILL: there is no such connection
	codeNotOwner   = 1095 // KILL: another account's
	codeLockWait   = 1205 // undoes the statement alone
	codeDeadlock   = 1213 // the branch can only be rolled back
	codeUnknownXID = 1397 // no such branch, or it has not left its session
	codeRolledBack = 1402 // the branch is rolled back
	codeXIDInUse   = 1440 // a session works, or has prepared, under the name
)

// number returns the number of an error that the server sent, or 0.
func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// gone reports whether an error says that the server, or the connection to it, is not
// there, so that nothing is known of what was asked: the connection was lost or killed,
// the context ended, or the server is shutting down, full, or read-only.
func gone(err error) bool {
	switch number(err) {
	case 0:
		return err != nil // nothing came from the server
	case 1040, 1041, 1203, 1226, // out of connections or memory
		1053, 1079, 1080, // shutting down
		1158, 1159, 1160, 1161, // network
		1290, 1792, 1836, // read-only: a replica
		1317, 1927, 1969, 3024, // interrupted, killed, took too long
		2006, 2013: // connection lost
		return true
	}
	return false
}

// busy reports whether an error of a statement that ends a branch, or seals it, says that
// it may succeed later: a lock was not granted, a deadlock was resolved, or the server
// holds commits up and has left the branch prepared.
func busy(err error) bool {
	switch number(err) {
	case codeLockWait, codeDeadlock, 3197, codeUnknownXID:
		return true
	}
	return false
}

// isTransient reports whether statements that failed may succeed when they are executed
// again: nothing came from the server, it is not there, or it has chosen this branch to
// end a deadlock or a wait.
func isTransient(err error) bool {
	var own *ownError
	switch n := number(err); {
	case errors.As(err, &own):
		return false
	case n == codeLockWait, n == codeDeadlock, n == 1020, n == codeXIDInUse: // 1020: changed since the snapshot
		return true
	case n == 0:
		return lost(err)
	default:
		return gone(err)
	}
}

// lost reports whether an error that did not come from the server is one of the
// connection, or of the caller's patience. Others say that a statement cannot be executed
// as it is, with too few arguments say, and will not be the next time.
func lost(err error) bool {
	for _, target := range []error{
		dtc.ErrNoAnswer, context.DeadlineExceeded, context.Canceled, driver.ErrBadConn, sql.ErrConnDone,
		mysql.ErrInvalidConn, mysql.ErrMalformPkt, mysql.ErrPktSync, mysql.ErrPktSyncMul, mysql.ErrBusyBuffer,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	var n net.Error
	return errors.As(err, &n)
}

// noAnswer wraps an error that tells nothing.
func (d *Database) noAnswer(doing string, err error) error {
	return dtc.NoAnswer(d.failed(doing, err))
}

func (d *Database) failed(doing string, err error) error {
	return fmt.Errorf("mysql: %s: %s: %w", d.id, doing, safe(err))
}

// safe returns an error that carries neither rows nor statements: the server's messages
// quote both.
func safe(err error) error {
	var e *mysql.MySQLError
	var s *ServerError
	if errors.As(err, &s) || !errors.As(err, &e) {
		return err
	}
	return &ServerError{Number: e.Number, State: string(e.SQLState[:]), err: e}
}

// ServerError is what the server answered. It leaves out the message, which quotes rows
// and statements.
type ServerError struct {
	// Number is the error's number, State its SQLSTATE.
	Number uint16
	State  string

	err error
}

// Unwrap returns the driver's error, whose text is not fit to be logged.
func (e *ServerError) Unwrap() error { return e.err }

// Error implements error. What the number means is said for those that are met often.
func (e *ServerError) Error() string {
	s := fmt.Sprintf("the server answered %d (SQLSTATE %s)", e.Number, e.State)
	if m := meanings[e.Number]; m != "" {
		s += ": " + m
	}
	return s
}

var meanings = map[uint16]string{
	1044:           "access to the database denied: GRANT what the account needs",
	1045:           "access denied: look at the account and its password",
	codeNull:       "a column may not be NULL",
	1054:           "no such column",
	codeDuplicate:  "duplicate key",
	1064:           "the statement cannot be parsed",
	codeNotOwner:   "the connection is another account's: connect as the account that did the work, or GRANT CONNECTION ADMIN (MySQL: CONNECTION_ADMIN) ON *.*",
	1142:           "not allowed on this table: GRANT SELECT, INSERT, UPDATE, DELETE on it",
	1146:           "no such table",
	codeLockWait:   "a lock was not granted in time",
	codeDeadlock:   "deadlock",
	1227:           "a privilege is missing (MySQL: GRANT XA_RECOVER_ADMIN ON *.*)",
	1264:           "a value is out of range",
	1290:           "the server is read-only: connect to the primary",
	1366:           "a value has the wrong type",
	codeUnknownXID: "unknown XID, or its session has not ended",
	1399:           "not in this state of a branch: a statement that commits by itself, or that ends a branch, is not allowed in it",
	codeRolledBack: "the branch was rolled back",
	1406:           "a value is too long",
	codeXIDInUse:   "another session works under this name",
	1451:           "a foreign key refers to the row",
	1452:           "a foreign key has no row to refer to",
	1836:           "the server is read-only: connect to the primary",
	3197:           "the server holds commits up; the branch is still prepared",
	4025:           "a check constraint does not hold",
}
