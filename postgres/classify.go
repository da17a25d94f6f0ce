package postgres

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dtc-project/dtc"
)

// SQLSTATEs that mean something here.
const (
	codeNotNull       = "23502"
	codeUnique        = "23505"
	codeNoStatement   = "26000"
	codeUndefined     = "42704" // no prepared transaction of that name
	codeDuplicate     = "42710" // there is one already
	codeNotInState    = "55000" // it is being finished, or waits for a standby; or the server has none
	codeOtherDatabase = "0A000"
	codeNotOwner      = "42501"
	codeSyntax        = "42601"
	codeNoSlot        = "53200" // max_prepared_transactions
	codeReadOnly      = "25006" // the transaction is, or the server: a standby
	codeProtocol      = "08P01" // a pooler's; the server's own, for a statement with too few arguments
)

// sqlState returns the SQLSTATE of an error that the server sent, or "".
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// gone reports whether an error says that the server, or the connection to it, is not
// there, so that nothing is known of what was asked: the connection was lost, the
// context ended, or the server is shutting down, starting, full, or a standby.
func gone(err error) bool {
	code := sqlState(err)
	if code == "" {
		return err != nil // nothing came from the server
	}
	switch code {
	case "57P01", "57P02", "57P03", "57P05", // ended by an administrator, crashed, starting, idle too long
		"57014", // cancelled
		codeReadOnly,
		"25P03", "25P04": // idle in a transaction, or in it, for too long
		return true
	}
	return code[:2] == "08" && !(code == codeProtocol && severity(err) == severityError) || code == "53300" || code == "53400"
}

// severityError is the severity of what concerns one transaction alone. Above it the
// connection ends, or the server.
const severityError = "ERROR"

// severity returns that of an error that the server sent, in English; "" if it sent none, as
// poolers do.
func severity(err error) string {
	var e *pgconn.PgError
	var s *ServerError
	switch {
	case errors.As(err, &s):
		return s.severity
	case errors.As(err, &e):
		return e.SeverityUnlocalized
	}
	return ""
}

// isTransient reports whether statements that failed may succeed when they are executed
// again: nothing came from the server, it is not there, or it has chosen this
// transaction to end a deadlock or a conflict.
func isTransient(err error) bool {
	var own *statementError
	switch code := sqlState(err); {
	case errors.As(err, &own):
		return false
	case code == "40001", code == "40P01", code == "55P03": // serialization, deadlock, lock timeout
		return true
	default:
		return gone(err)
	}
}

// noAnswer wraps an error that tells nothing.
func (d *Database) noAnswer(doing string, err error) error {
	return dtc.NoAnswer(fmt.Errorf("postgres: %s: %s: %w", d.id, doing, safe(err)))
}

// safe returns an error that carries neither rows nor statements: the server's detail
// quotes data.
func safe(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	return &ServerError{Code: e.Code, Message: withoutData(e.Code, e.Message), Remedy: remedies[e.Code], severity: e.SeverityUnlocalized}
}

// quotes are those of the languages in which the server speaks, as lc_messages says.
const quotes = "\"«»„“”‹›「」"

// withoutData takes out of a message what it quotes, where that may be a value: it is about
// data (class 22), or about a statement that cannot be read, and shows where.
func withoutData(code, message string) string {
	from, to := strings.IndexAny(message, quotes), strings.LastIndexAny(message, quotes)
	if !strings.HasPrefix(code, "22") && code != codeSyntax || from == to {
		return message
	}
	_, last := utf8.DecodeRuneInString(message[to:])
	return message[:from] + "…" + message[to+last:]
}

// ServerError is what PostgreSQL answered. It leaves out the detail, which quotes rows, and
// values that the message quotes.
type ServerError struct {
	// Code is the SQLSTATE.
	Code    string
	Message string
	// Remedy says what to do, if that is known.
	Remedy string

	severity string
}

// Error implements error.
func (e *ServerError) Error() string {
	s := e.Message + " (SQLSTATE " + e.Code + ")"
	if e.Remedy != "" {
		s += ": " + e.Remedy
	}
	return s
}

// SQLState returns the code, as pgx's own error does.
func (e *ServerError) SQLState() string { return e.Code }

var remedies = map[string]string{
	codeNoSlot: "raise max_prepared_transactions (ALTER SYSTEM SET max_prepared_transactions = …, then restart the server);" +
		" it bounds how many branches can be prepared at a time",
	codeNotOwner:      "finish with the role that prepared the branch, or a superuser; and see that it may use the tables",
	codeOtherDatabase: "a branch is finished from the database in which it was prepared",
}
