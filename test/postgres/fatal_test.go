package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// losing stands before a server. What the server answers to a message with that text is
// replaced by the words of a pooler that has lost it just then.
func losing(t *testing.T, server, text string) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	words, err := (&pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "58000", Message: "server connection lost",
	}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	pass := func(client net.Conn) {
		defer client.Close()
		back, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer back.Close()
		lost := make(chan struct{})
		go func() {
			defer back.Close()
			buf := make([]byte, 1<<16)
			for {
				n, err := client.Read(buf)
				if err != nil {
					return
				}
				if bytes.Contains(buf[:n], []byte(text)) {
					close(lost)
				}
				if _, err := back.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 1<<16)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-lost:
				_, _ = client.Write(words)
				return
			default:
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(client)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

// TestFatalIsNoRefusal: an error that has ended the connection, whatever its code, does not say
// that the server has not prepared.
func TestFatalIsNoRefusal(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	port := losing(t, w.server.Addr(), "PREPARE TRANSACTION")
	db, err := postgres.Open(t.Context(), "orders", openPool(t, w.server.Through(port, w.name)), &postgres.Options{TwoPhases: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c := open(t, db)
	var xid dtc.XID
	err = c.Run(t.Context(), "fatal", func(ctx context.Context, tx *dtc.Tx) error {
		xid = tx.XID()
		return db.Do(ctx, tx, func(ctx context.Context, q pgx.Tx) error { return insert(ctx, q, tx.XID()) })
	})
	if err != nil {
		t.Errorf("error %v", errors.Unwrap(err))
	}
	if err := w.truth(c, "fatal", xid, true); err != nil {
		t.Error(err)
	}
	w.clean(t)
}
