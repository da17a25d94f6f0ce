package wire_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// TestMySQL: each fault does to a statement what it says, also to one that returns rows,
// and to no other.
func TestMySQL(t *testing.T) {
	server := servers.SharedMariaDB(t)
	direct := server.NewDatabase(t, "wire")
	if _, err := direct.Exec("CREATE TABLE n (id int)"); err != nil {
		t.Fatal(err)
	}
	p, err := wire.New(wire.MySQL, server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	through, err := sql.Open("mysql", server.Through(p.Port(), "wire"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { through.Close() })
	rows := func() (n int) {
		if err := direct.QueryRow("SELECT COUNT(*) FROM n").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := 0
	for _, returning := range []string{"", " RETURNING id, 'and a text'"} {
		for _, f := range wire.Faults() {
			conn, err := through.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			trap := p.Arm("INSERT INTO n", 2, f)
			for i := range 2 {
				// The first one goes through. What is stalled is given up by the client.
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				if i == 0 {
					ctx = t.Context()
				}
				_, err = conn.ExecContext(ctx, "INSERT INTO n VALUES (1)"+returning)
				cancel()
				if lost := err != nil; lost != (i == 1) {
					t.Fatalf("%v, statement %d: error %v", f, i, err)
				}
			}
			<-trap.Hit()
			if want++; f == wire.CutReply || f == wire.StallReply {
				want++
			}
			if n := rows(); n != want {
				t.Errorf("%v: %d rows, want %d", f, n, want)
			}
			trap.Release()
			<-trap.Done()
			if f == wire.StallRequest { // the server does it without its client
				if want++; rows() != want {
					t.Errorf("%v: what was held back did not arrive", f)
				}
			}
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	by, _ := p.Counts()
	for _, f := range wire.Faults() {
		if by[f] != 2 {
			t.Errorf("%v: %d times, want 2", f, by[f])
		}
	}
}
