package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Statements is the payload of a branch that consists of plain statements. In JSON:
//
//	{"statements":[{"sql":"UPDATE account SET balance = balance - $1 WHERE id = $2 AND balance >= $1","args":[30,"alice"],"rows":1}]}
type Statements struct {
	Statements []Statement `json:"statements"`
}

// Statement is one statement. Its arguments are JSON values, given to the server as
// text, which infers their types: write $1::jsonb or $1::numeric where it cannot.
// Arrays and objects are given as their JSON text. NULL is null.
type Statement struct {
	SQL  string            `json:"sql"`
	Args []json.RawMessage `json:"args,omitempty"`
	// Rows is how many rows it must affect; the branch votes abort otherwise. Not
	// checked if nil.
	Rows *int64 `json:"rows,omitempty"`
}

// Adopted is the payload of a branch that somebody else prepares in this database, in
// whatever language, as [Name] says: {"adopted":true}. Enlist it, then do the work and say
// PREPARE TRANSACTION, with a role that [Open]'s pool has or that a superuser finishes, and
// then let the coordinator commit. A branch that is prepared before it is enlisted is taken
// for one that nobody wants, if it is seen in between, and left to a person.
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
		switch {
		case st.SQL == "":
			return p, fmt.Errorf("statement %d is empty", i+1)
		case strings.Contains(st.SQL, "\x00"):
			return p, fmt.Errorf("statement %d contains NUL, which the server does not take", i+1)
		case endsTransaction(st.SQL):
			return p, fmt.Errorf("statement %d ends the transaction: a branch is ended by the coordinator alone", i+1)
		}
	}
	return p, nil
}

// argument returns a JSON value as the server reads it, nil for null.
func argument(v json.RawMessage) ([]byte, error) {
	v = bytes.TrimSpace(v)
	switch {
	case bytes.Equal(v, []byte("null")):
		return nil, nil
	case len(v) > 0 && v[0] == '"':
		var s string
		err := json.Unmarshal(v, &s)
		return []byte(s), err
	}
	return v, nil // numbers, booleans, arrays and objects are their own text
}

// exec runs the statements, in order, each as the extended protocol does it: one
// statement, its arguments apart from it. The error names the statement by its
// position and never quotes it.
func execStatements(ctx context.Context, c *pgconn.PgConn, list []Statement) error {
	for i, st := range list {
		values, err := st.values(i)
		if err != nil {
			return err
		}
		tag, err := c.ExecParams(ctx, st.SQL, values, nil, nil, nil).Close()
		if err != nil {
			return fmt.Errorf("statement %d: %w", i+1, safe(err))
		}
		if c.TxStatus() != 'T' {
			return &statementError{fmt.Errorf("statement %d ended the transaction: a branch is ended by the coordinator alone", i+1)}
		}
		if err := st.check(i, tag); err != nil {
			return err
		}
	}
	return nil
}

// values returns the arguments of the statement at an index.
func (st Statement) values(index int) ([][]byte, error) {
	values := make([][]byte, len(st.Args))
	for i, v := range st.Args {
		a, err := argument(v)
		if err != nil {
			return nil, &statementError{fmt.Errorf("statement %d, argument %d: %w", index+1, i+1, err)}
		}
		values[i] = a
	}
	return values, nil
}

// check compares how many rows the statement at an index has affected with how many it must.
func (st Statement) check(index int, tag pgconn.CommandTag) error {
	if n := tag.RowsAffected(); st.Rows != nil && n != *st.Rows {
		return &statementError{&RowsError{Position: index + 1, Want: *st.Rows, Got: n}}
	}
	return nil
}

// RowsError says that a statement affected another number of rows than it must.
type RowsError struct {
	Position  int // from 1
	Want, Got int64
}

func (e *RowsError) Error() string {
	return fmt.Sprintf("statement %d affected %d rows; it must affect %d", e.Position, e.Got, e.Want)
}

// statementError marks what is wrong with a statement whatever the server says.
type statementError struct{ err error }

func (e *statementError) Error() string { return e.err.Error() }
func (e *statementError) Unwrap() error { return e.err }
