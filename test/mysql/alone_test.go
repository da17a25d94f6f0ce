package mysql_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/mysql"
	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/wire"
)

// lying returns a protocol in which the server is asked something else than the statement,
// for so many times, and says OK. What the client asks is shown to seen, if there is one.
func lying(about string, times int64, seen func(text string)) wire.Protocol {
	return replacing(about, "DO 0", times, seen)
}

func replacing(about, with string, times int64, seen func(text string)) wire.Protocol {
	left := new(atomic.Int64)
	left.Store(times)
	return func(client, server net.Conn) wire.Codec {
		return &liar{wire.MySQL(client, server), about, with, left, seen}
	}
}

type liar struct {
	wire.Codec
	about string
	with  string
	left  *atomic.Int64
	seen  func(text string)
}

func (l *liar) Request() (raw []byte, text string, err error) {
	if raw, text, err = l.Codec.Request(); err != nil {
		return raw, text, err
	}
	if l.seen != nil {
		l.seen(text)
	}
	if strings.Contains(text, l.about) && l.left.Add(-1) >= 0 {
		raw = append([]byte{byte(len(l.with) + 1), 0, 0, 0, 3}, l.with...)
	}
	return raw, text, err
}

// TestWaitsForTheSession: the server has said OK to the KILL of a session, which has not left
// yet. Nothing is finished before it has: an OK would be no proof.
func TestWaitsForTheSession(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	var session, early, late atomic.Int64
	other := w.through(t, func(client, server net.Conn) wire.Codec {
		return lying(fmt.Sprintf("KILL CONNECTION %d", session.Load()), 3, func(text string) {
			if !strings.HasPrefix(text, atCommit) && !strings.HasPrefix(text, atRollback) {
				return
			}
			if w.count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", session.Load()) > 0 {
				early.Add(1)
			}
			late.Add(1)
		})(client, server)
	})
	ctx := background(t)
	for i, call := range []func(context.Context, dtc.Branch) error{other.db.Commit, other.db.Rollback} {
		b := w.branch(uint64(i + 1))
		if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
		session.Store(int64(w.session(t, b)))
		other.proxy.Cut() // the next connections are lied to about this session
		var err error
		for range 5 {
			if err = call(ctx, b); err == nil {
				break
			}
		}
		if held, applied, eerr := w.effect(b.XID, "orders"); err != nil || eerr != nil || held || applied != 1-i {
			t.Errorf("held: %v, applied: %d, errors: %v, %v", held, applied, err, eerr)
		}
	}
	if early.Load() > 0 || late.Load() < 2 {
		t.Errorf("of %d branches that were finished the sessions of %d had not left", late.Load(), early.Load())
	}
}

// TestOneFinisher: while one process is finishing a branch no other does, which could not
// believe its answer.
func TestOneFinisher(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, wire.MySQL)
	other := w.participant(t, "orders", nil)
	ctx := background(t)
	for i, at := range []string{atCommit, atRollback} {
		call := []func(*mysql.Database, context.Context, dtc.Branch) error{(*mysql.Database).Commit, (*mysql.Database).Rollback}[i]
		b := w.branch(uint64(i + 1))
		if v, err := w.db.Prepare(ctx, b); v != dtc.VoteCommit || err != nil {
			t.Fatal(v, err)
		}
		trap := p.proxy.Arm(at, 1, wire.StallRequest)
		first := make(chan error, 1)
		go func() { first <- call(p.db, ctx, b) }()
		<-trap.Hit()
		soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if err := call(other, soon, b); err == nil {
			t.Errorf("%s: finished while another was finishing it", at)
		}
		cancel()
		if held, _, err := w.effect(b.XID, "orders"); err != nil || !held {
			t.Errorf("%s: held: %v, error: %v", at, held, err)
		}
		trap.Release()
		if err := <-first; err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if err := call(other, ctx, b); err != nil {
			t.Errorf("%s, again: %v", at, err)
		}
		if held, applied, err := w.effect(b.XID, "orders"); err != nil || held || applied != 1-i {
			t.Errorf("%s: held: %v, applied: %d, error: %v", at, held, applied, err)
		}
	}
}

// TestPoisoned: the server refuses to commit a branch on its session. The connection, which
// may still hold it, is not given to somebody who waits for one.
func TestPoisoned(t *testing.T) {
	w := newWorld(t, servers.SharedMariaDB(t))
	p := w.through(t, replacing(atCommit, "SPOIL", 1, nil))
	p.pool.SetMaxOpenConns(1)
	c := open(t, p.db)
	b := w.branch(1)
	if v, err := p.db.Prepare(t.Context(), b); v != dtc.VoteCommit || err != nil {
		t.Fatal(v, err)
	}
	waits := make(chan error, 1)
	go func() {
		waits <- run(t, c, p.db, "waits", func(ctx context.Context, q *mysql.Tx) error {
			_, err := q.ExecContext(ctx, "INSERT INTO token VALUES ('waits')")
			return err
		})
	}()
	eventually(t, "somebody waits for the connection", func() bool { return p.pool.Stats().WaitCount > 0 })
	if err := p.db.Commit(t.Context(), b); err != nil {
		t.Error(err)
	}
	if err := <-waits; err != nil {
		t.Errorf("who waited for a connection: %v", err)
	}
	w.clean(t)
}
