package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// Tx is what the application works with: a branch on its connection. Its methods are
// those of *sql.Tx that execute statements, and may be called by one goroutine at a time.
//
// An error of any statement poisons the branch: it will be rolled back, whatever the
// function returns, and takes no more statements. The server has undone nothing or only
// the statement, or has begun to take statements outside of the branch. A savepoint does
// not help. Statements that commit by themselves, as CREATE TABLE does, fail.
type Tx struct {
	ctx  context.Context // ends when the function has returned, and with it rows left open
	conn *sql.Conn
	err  error // a statement has failed

	writes   bool              // a statement may have written, or locked
	seen     bool              // it will write, and whoever reads rows in it notes their errors
	asked    bool              // rows were read, whose errors are not seen here
	counters map[string]uint64 // the session's, before the first of these
}

var errFailedBefore = errors.New("mysql: a statement of the branch has failed, so the branch takes no more")

// ExecContext executes a statement that returns no rows.
func (q *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := q.may(query); err != nil {
		return nil, err
	}
	q.writes = true
	ctx, cancel := q.within(ctx)
	defer cancel()
	r, err := q.conn.ExecContext(ctx, query, args...)
	return r, q.note(err)
}

// QueryContext executes a statement that returns rows. They are closed when the function
// given to Do returns.
func (q *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := q.ask(ctx, query); err != nil {
		return nil, err
	}
	ctx, _ = q.within(ctx) // it ends with the function
	rows, err := q.conn.QueryContext(ctx, query, args...)
	return rows, q.note(err)
}

// QueryRowContext executes a statement that returns at most one row. On a branch that is
// poisoned the error is context.Canceled.
func (q *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := q.ask(ctx, query); err != nil {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return q.conn.QueryRowContext(ended, query, args...)
	}
	ctx, _ = q.within(ctx) // it ends with the function
	row := q.conn.QueryRowContext(ctx, query, args...)
	_ = q.note(row.Err())
	return row
}

// within returns a context that ends with that of the branch too.
func (q *Tx) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(q.ctx, cancel)
	return ctx, cancel
}

// note remembers the first error, and makes it one that may be logged.
func (q *Tx) note(err error) error {
	if err != nil && q.err == nil {
		q.err = err
	}
	return safe(err)
}

// may refuses what must not reach the server.
func (q *Tx) may(query string) error {
	switch {
	case q.err != nil:
		return errFailedBefore
	case xaStatement.MatchString(query):
		return q.note(errNotYours)
	}
	return nil
}

var errNotYours = errors.New("mysql: the branch is ended by the coordinator alone: return from the function instead; nil lets it be prepared, an error rolls all of it back")

var xaStatement = regexp.MustCompile(`(?i)^\s*xa\b`)

// ask is before a statement that returns rows.
func (q *Tx) ask(ctx context.Context, query string) error {
	if err := q.may(query); err != nil {
		return err
	}
	if !plainRead(query) {
		q.writes = true
	}
	if q.asked || q.seen {
		return nil
	}
	q.asked = true
	var err error
	q.counters, err = counters(ctx, q.conn)
	return q.note(err)
}

// readOnly reports whether the branch has neither written nor locked, as far as can be
// told, and an error if a statement has failed while its rows were read.
func (q *Tx) readOnly(ctx context.Context) (bool, error) {
	if !q.asked {
		return !q.writes, nil
	}
	now, err := counters(ctx, q.conn)
	switch {
	case err != nil:
		return false, err
	case now["Handler_rollback"] != q.counters["Handler_rollback"]:
		return false, errWhileReading
	}
	for _, name := range []string{"Handler_write", "Handler_update", "Handler_delete"} {
		if now[name] != q.counters[name] { // a function or trigger may write in a SELECT
			return false, nil
		}
	}
	return !q.writes, nil
}

var errWhileReading = &ownError{errors.New("a statement of the branch failed while its rows were read")}

// counters reads what the session has counted.
func counters(ctx context.Context, q querier) (map[string]uint64, error) {
	rows, err := q.QueryContext(ctx, "SHOW SESSION STATUS WHERE Variable_name IN"+
		" ('Handler_write', 'Handler_update', 'Handler_delete', 'Handler_rollback')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]uint64{}
	for rows.Next() {
		var name string
		var n uint64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		all[name] = n
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(all) != 4 {
		return nil, fmt.Errorf("the server has %d of the 4 counters Handler_…", len(all))
	}
	return all, nil
}

var (
	quoted   = regexp.MustCompile(`'[^'\\]*'|"[^"\\]*"|` + "`[^`]*`")
	words    = regexp.MustCompile(`[a-z_0-9$]+`)
	calls    = regexp.MustCompile(`([a-z_0-9$]+)\s*\(`)
	notReads = set("for lock into procedure")
	harmless = set("abs and as avg by char_length coalesce concat connection_id count database date date_format exists from greatest having if ifnull" +
		" in join least left length lower ltrim max min not now nullif on or over partition replace right round row_number" +
		" rtrim select substr substring sum trim union upper using values when where")
)

func set(words string) map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.Fields(words) {
		all[w] = true
	}
	return all
}

// plainRead reports whether a statement is a SELECT that surely takes no lock and has no
// other effect. The server does not tell what a branch has locked, at once and to
// everybody, so the text must: what is not known here, like a stored function, may have
// any effect. To be wrong in that direction costs a prepare.
func plainRead(query string) bool {
	s := strings.ToLower(quoted.ReplaceAllString(query, " q "))
	if strings.ContainsAny(s, `'"`+"`"+`\@#;`) || strings.Contains(s, "/*") || strings.Contains(s, "--") {
		return false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) {
		return false // a name that the patterns do not see
	}
	all := words.FindAllString(s, -1)
	if len(all) == 0 || all[0] != "select" {
		return false
	}
	for _, w := range all {
		if notReads[w] {
			return false
		}
	}
	for _, call := range calls.FindAllStringSubmatch(s, -1) {
		if !harmless[call[1]] {
			return false
		}
	}
	return true
}
