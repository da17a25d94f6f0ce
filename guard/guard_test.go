package guard

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
)

// The shapes in which drivers give their codes.
type (
	pgError    struct{ state string }
	mysqlError struct {
		Number  uint16
		Message string
	}
	modernError struct{ code int }
	cgoCode     int
	cgoError    struct{ Code cgoCode }
)

func (e *pgError) Error() string    { return "pg" }
func (e *pgError) SQLState() string { return e.state }
func (e *mysqlError) Error() string { return e.Message }
func (e *modernError) Error() string {
	return "sqlite"
}
func (e *modernError) Code() int { return e.code }
func (e cgoError) Error() string { return "sqlite" }

func TestIsTransient(t *testing.T) {
	all := []Dialect{SQLite, PostgreSQL, MariaDB}
	for _, c := range []struct {
		err  error
		want []Dialect
	}{
		{nil, nil},
		{errors.New("deadlock"), nil}, // a text says nothing
		{dtc.NoAnswer(nil), all},
		{context.DeadlineExceeded, all},
		{context.Canceled, all},
		{driver.ErrBadConn, all},
		{sql.ErrTxDone, all},
		{io.ErrUnexpectedEOF, all},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, all},
		{sql.ErrNoRows, nil},
		{&pgError{"40P01"}, []Dialect{PostgreSQL}},
		{&pgError{"40001"}, []Dialect{PostgreSQL}},
		{&pgError{"08006"}, []Dialect{PostgreSQL}},
		{&pgError{"57P01"}, []Dialect{PostgreSQL}},
		{&pgError{"23505"}, nil}, // unique violation: definite
		{&pgError{""}, nil},
		{&mysqlError{Number: 1213}, []Dialect{MariaDB}},
		{&mysqlError{Number: 1205}, []Dialect{MariaDB}},
		{&mysqlError{Number: 1062}, nil}, // duplicate entry: definite
		{&modernError{5}, []Dialect{SQLite}},
		{&modernError{5 | 2<<8}, []Dialect{SQLite}}, // busy, the snapshot is old
		{&modernError{19 | 8<<8}, nil},              // constraint, unique
		{cgoError{Code: 6}, []Dialect{SQLite}},      // locked
		{cgoError{Code: 19}, nil},                   // constraint
		{errors.Join(errors.New("x"), &mysqlError{Number: 1213}), []Dialect{MariaDB}},
	} {
		for _, d := range all {
			want := false
			for _, w := range c.want {
				want = want || w == d
			}
			wrapped := c.err
			if wrapped != nil {
				wrapped = fmt.Errorf("debit: %w", c.err)
			}
			if got := d.IsTransient(wrapped); got != want {
				t.Errorf("%v.IsTransient(%#v) = %v, want %v", d, c.err, got, want)
			}
		}
	}
}

func TestNewRefusesBadArguments(t *testing.T) {
	db := sql.OpenDB(noConnector{})
	defer db.Close()
	f := Funcs{Prepare: func(context.Context, *sql.Tx, dtc.Branch) (dtc.Vote, error) { return dtc.VoteCommit, nil }}
	for _, c := range []struct {
		id   string
		db   *sql.DB
		d    Dialect
		f    Funcs
		o    *Options
		want string
	}{
		{"", db, SQLite, f, nil, "participant id"},
		{"a b", db, SQLite, f, nil, "participant id"},
		{strings.Repeat("a", 65), db, SQLite, f, nil, "participant id"},
		{"a", nil, SQLite, f, nil, "no database"},
		{"a", db, 0, f, nil, "want SQLite, PostgreSQL or MariaDB"},
		{"a", db, 9, f, nil, "want SQLite, PostgreSQL or MariaDB"},
		{"a", db, SQLite, Funcs{}, nil, "no Prepare"},
		{"a", db, SQLite, f, &Options{TablePrefix: "a; DROP TABLE b"}, "table prefix"},
		{"a", db, SQLite, f, &Options{TablePrefix: "1a"}, "table prefix"},
		{"a", db, SQLite, f, &Options{TablePrefix: "Guard"}, "table prefix"},
		{"a", db, SQLite, f, &Options{TablePrefix: strings.Repeat("a", 41)}, "table prefix"},
		{"a", db, SQLite, f, nil, "no database behind this"},
	} {
		if _, err := New(t.Context(), c.id, c.db, c.d, c.f, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%q, %v, %+v): %v; want an error that names %q", c.id, c.d, c.o, err, c.want)
		}
	}
}

type noConnector struct{}

func (noConnector) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("no database behind this")
}
func (noConnector) Driver() driver.Driver { return nil }

func TestBranchesOfOthersAreRefused(t *testing.T) {
	g := &Guard{id: "payment"}
	x := dtc.XID{Incarnation: dtc.Incarnation{Number: 1}, Seq: 1}
	for _, b := range []dtc.Branch{
		{Participant: "stock", XID: x},
		{Participant: "payment"},
		{Participant: "payment", XID: dtc.XID{Seq: 1 << 63}},
	} {
		if vote, err := g.Prepare(t.Context(), b); vote != dtc.VoteAbort || err == nil {
			t.Errorf("prepare of %+v: %v, %v", b, vote, err)
		}
		if err := g.Commit(t.Context(), b); err == nil {
			t.Errorf("commit of %+v was acknowledged", b)
		}
		if err := g.Rollback(t.Context(), b); err == nil {
			t.Errorf("rollback of %+v was acknowledged", b)
		}
	}
}

func TestSchemaNamesOnlyItsPrefix(t *testing.T) {
	for _, d := range []Dialect{SQLite, PostgreSQL, MariaDB} {
		text, err := Schema(d, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(text, "{}") || strings.Contains(text, defaultPrefix) || !strings.Contains(text, "shop_branch") {
			t.Errorf("%v:\n%s", d, text)
		}
	}
	if _, err := Schema(SQLite, "a b"); err == nil {
		t.Error("a bad prefix was accepted")
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x00b\xff"); got != "ab?" {
		t.Errorf("clean: %q", got)
	}
	if got := clean(strings.Repeat("ä", 400)); len(got) > 501 {
		t.Errorf("clean: %d bytes", len(got))
	}
}
