package mysql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// Statements is the payload of a branch that consists of plain statements. In JSON:
//
//	{"statements":[{"sql":"UPDATE account SET balance = balance - ? WHERE id = ? AND balance >= ?","args":[30,"alice",30],"rows":1}]}
type Statements struct {
	Statements []Statement `json:"statements"`
}

// Statement is one statement. Its arguments are JSON values: whole numbers and booleans
// are given to the server as integers, all else as text, which it converts; write
// CAST(? AS DECIMAL(20,2)) where that is not exact. Arrays and objects are given as their
// JSON text. NULL is null.
type Statement struct {
	SQL  string            `json:"sql"`
	Args []json.RawMessage `json:"args,omitempty"`
	// Rows is how many rows it must affect; the branch votes abort otherwise. Not
	// checked if nil. As the server counts, unless clientFoundRows is set for the
	// pool: a row that an UPDATE leaves as it was is not affected. Of a SELECT it is
	// how many rows it returns.
	Rows *int64 `json:"rows,omitempty"`
}

// Adopted is the payload of a branch that somebody else has prepared in this server, in
// whatever language, as [Name] says: {"adopted":true}. Its last statement was the one that
// [Database.Proof] gives; without that row it is not voted for. The coordinator asks for
// the commit after XA PREPARE has succeeded there. Whoever prepared it closes the
// connection then; one that is still open is ended.
type Adopted struct {
	Adopted bool `json:"adopted"`
}

// payload is what a payload may be.
type payload struct {
	Statements []Statement `json:"statements"`
	Adopted    bool        `json:"adopted"`
}

// maxStatements bounds one branch.
const maxStatements = 1000

func parsePayload(b []byte) (p payload, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, fmt.Errorf(`the payload must be {"statements":[…]} or {"adopted":true}: %w`, err)
	}
	if dec.More() {
		return p, errors.New(`the payload must be one JSON object`)
	}
	switch n := len(p.Statements); {
	case p.Adopted && n > 0:
		return p, errors.New("an adopted branch has no statements: whoever prepared it has done the work")
	case !p.Adopted && n == 0:
		return p, errors.New("the payload has no statements")
	case n > maxStatements:
		return p, fmt.Errorf("%d statements; at most %d are allowed", n, maxStatements)
	}
	for i, st := range p.Statements {
		if st.SQL == "" {
			return p, fmt.Errorf("statement %d is empty", i+1)
		}
	}
	return p, nil
}

// argument returns a JSON value as the driver takes it, nil for null.
func argument(v json.RawMessage) (any, error) {
	text := string(bytes.TrimSpace(v))
	switch {
	case text == "null":
		return nil, nil
	case text == "true":
		return int64(1), nil
	case text == "false":
		return int64(0), nil
	case text != "" && text[0] == '"':
		var s string
		err := json.Unmarshal(v, &s)
		return s, err
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	return text, nil // fractions, arrays and objects are their own text
}

// execStatements runs the statements, in order. The error names the statement by its
// position and never quotes it.
func execStatements(ctx context.Context, q *Tx, list []Statement) error {
	// All rows are read to their end here. So if it is known that the branch will write, what
	// the server has counted would tell nothing, and to ask costs more than a commit.
	q.seen = slices.ContainsFunc(list, func(st Statement) bool { return !plainRead(st.SQL) })
	for i, st := range list {
		args := make([]any, len(st.Args))
		for j, v := range st.Args {
			a, err := argument(v)
			if err != nil {
				return &ownError{fmt.Errorf("statement %d, argument %d: %w", i+1, j+1, err)}
			}
			args[j] = a
		}
		n, err := execStatement(ctx, q, st.SQL, args)
		switch {
		case errors.Is(err, errNotYours):
			return &ownError{fmt.Errorf("statement %d ends the transaction: a branch is ended by the coordinator alone", i+1)}
		case err != nil:
			return fmt.Errorf("statement %d: %w", i+1, safe(err))
		case st.Rows != nil && n != *st.Rows:
			return &ownError{&RowsError{Position: i + 1, Want: *st.Rows, Got: n}}
		}
	}
	return nil
}

var selects = regexp.MustCompile(`(?i)^[\s(]*(select|with|values|table)\b`)

// execStatement returns how many rows a statement has affected, or returned.
func execStatement(ctx context.Context, q *Tx, query string, args []any) (n int64, err error) {
	if !selects.MatchString(query) {
		r, err := q.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		n++
	}
	return n, q.note(rows.Err())
}

// RowsError says that a statement affected another number of rows than it must.
type RowsError struct {
	Position  int // from 1
	Want, Got int64
}

func (e *RowsError) Error() string {
	return fmt.Sprintf("statement %d affected %d rows; it must affect %d", e.Position, e.Got, e.Want)
}

// ownError marks what is wrong whatever the server says.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }
