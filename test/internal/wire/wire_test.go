package wire_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }

// TestPostgres: each fault does to a statement what it says, also to one that goes with the
// extended protocol, and to no other.
func TestPostgres(t *testing.T) {
	server := servers.SharedPostgres(t)
	direct := server.Open(t, "")
	if _, err := direct.Exec("CREATE TABLE n (id int)"); err != nil {
		t.Fatal(err)
	}
	p, err := wire.New(wire.Postgres, server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	rows := func() (n int) {
		if err := direct.QueryRow("SELECT count(*) FROM n").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := 0
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		for _, f := range wire.Faults() {
			conn, err := pgx.Connect(t.Context(), server.Through(p.Port(), ""))
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
				_, err = conn.Exec(ctx, "INSERT INTO n VALUES ($1)", mode, i)
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
			if f == wire.StallRequest {
				// The server does it without its client, if all of it has arrived.
				if n := rows(); n > want {
					want = n
				} else if mode == pgx.QueryExecModeSimpleProtocol {
					t.Errorf("%v: what was held back did not arrive", f)
				}
			}
			_ = conn.Close(t.Context())
		}
	}
	by, _ := p.Counts()
	for _, f := range wire.Faults() {
		if by[f] != 2 {
			t.Errorf("%v: %d times, want 2", f, by[f])
		}
	}
}
