package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/internal/sim/simdb"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// The simulator believes what simdb says about locks and visibility. Here it is
// asked the same as a real server: the guard's statements and an application's, at
// random over three connections, one after the other; a call that waits is left to
// wait. Every answer must be the same: rows, counts, codes of errors, and who waits.
func TestSimulatedDatabaseAnswersLikePostgreSQL(t *testing.T) {
	d := newDatabase(t, guard.PostgreSQL, servers.SharedPostgres(t))
	// The one who closes a circle is the victim, as long as those who wait already
	// have looked for one before.
	d.exec(t, "ALTER DATABASE "+d.name+" SET deadlock_timeout = '1ms'")
	d.exec(t, "ALTER DATABASE "+d.name+" SET synchronous_commit = off") // nothing crashes here
	d.db.SetMaxIdleConns(0)
	d.db.SetMaxIdleConns(8)
	schema, err := guard.Schema(guard.PostgreSQL, "")
	if err != nil {
		t.Fatal(err)
	}
	for q := range strings.SplitSeq(schema+simdb.Tokens, ";\n") {
		if strings.TrimSpace(q) != "" {
			d.exec(t, q)
		}
	}
	var total tried
	scripts := []script{lockIsKept()}
	for seed := uint64(1); seed <= 120; seed++ {
		scripts = append(scripts, randomScript(seed))
	}
	for _, sc := range scripts {
		for _, table := range []string{"dtc_guard_branch", "dtc_guard_low_water", "token", "account"} {
			d.exec(t, "DELETE FROM "+table)
		}
		compare(t, sc, d.db, schema, &total)
	}
	tally.Add(t, "simdb", "statements compared with PostgreSQL", total.statements, 3000)
	tally.Add(t, "simdb", "waits compared with PostgreSQL", total.waits, 50)
	tally.Add(t, "simdb", "deadlocks compared with PostgreSQL", total.deadlocks, 3)
	tally.Add(t, "simdb", "other errors compared with PostgreSQL", total.errors, 20)
}

type tried struct{ statements, waits, deadlocks, errors int64 }

// side is one of the two databases, with three connections to it.
type side struct{ conns [3]*client }

// client is a connection.
type client struct {
	conn *sql.Conn
	pid  int
	tx   *sql.Tx
	call *call // the last one
}

// call is one statement, and what came of it once done is closed.
type call struct {
	step   step
	done   chan struct{}
	answer string
	seen   bool // waiting
}

func (c *call) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func openSide(t *testing.T, db *sql.DB) *side {
	s := &side{}
	for i := range s.conns {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.conns[i] = &client{conn: conn}
	}
	return s
}

// close ends what waits by ending what it waits for.
func (s *side) close() {
	for open := true; open; time.Sleep(100 * time.Microsecond) {
		open = false
		for _, c := range s.conns {
			if c.call != nil && !c.call.ended() {
				open = true
			} else if c.tx != nil {
				c.tx.Rollback()
				c.tx = nil
			}
		}
	}
	for _, c := range s.conns {
		c.conn.Close()
	}
}

// issue begins a call, as far as it goes.
func (c *client) issue(s step) {
	c.call = &call{step: s, done: make(chan struct{})}
	go func(call *call) {
		defer close(call.done)
		call.answer = c.do(s)
	}(c.call)
}

func (c *client) do(s step) string {
	ctx := context.Background()
	var err error
	switch {
	case s.query == "begin":
		c.tx, err = c.conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	case s.query == "commit":
		if err = c.tx.Commit(); err != nil {
			return "not committed" // the drivers say it without a code
		}
		c.tx = nil
	case s.query == "rollback":
		err = c.tx.Rollback()
		c.tx = nil
	case strings.HasPrefix(s.query, "SELECT"):
		return c.query(ctx, s)
	default:
		var res sql.Result
		if c.tx != nil {
			res, err = c.tx.ExecContext(ctx, s.query, s.args...)
		} else {
			res, err = c.conn.ExecContext(ctx, s.query, s.args...)
		}
		if err == nil {
			n, err := res.RowsAffected()
			return fmt.Sprintf("%d rows, %s", n, code(err))
		}
	}
	return code(err)
}

func (c *client) query(ctx context.Context, s step) string {
	var rows *sql.Rows
	var err error
	if c.tx != nil {
		rows, err = c.tx.QueryContext(ctx, s.query, s.args...)
	} else {
		rows, err = c.conn.QueryContext(ctx, s.query, s.args...)
	}
	if err != nil {
		return code(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	var all []string
	for err == nil && rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err = rows.Scan(into...)
		all = append(all, fmt.Sprint(values...))
	}
	if !strings.Contains(s.query, "ORDER BY") {
		slices.Sort(all)
	}
	return fmt.Sprint(all, code(errors.Join(err, rows.Err())))
}

func code(err error) string {
	var e interface{ SQLState() string }
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &e):
		return "error " + e.SQLState()
	}
	return "error: " + err.Error()
}

// compare runs one script. The simulated database goes first and says what will
// wait, which the real one then shows to be so.
func compare(t *testing.T, sc script, real *sql.DB, schema string, total *tried) {
	sim := simdb.New(schema, simdb.Tokens)
	pool := simdb.Open(sim)
	defer pool.Close()
	one, two := openSide(t, pool), openSide(t, real)
	defer one.close()
	defer two.close()
	for _, c := range two.conns {
		if err := c.conn.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&c.pid); err != nil {
			t.Fatal(err)
		}
	}
	var trace []string
	for _, s := range sc.first {
		trace = append(trace, "0: "+s.String())
		if a, b := one.conns[0].do(s), two.conns[0].do(s); a != b {
			t.Fatalf("%s: %s: simdb answers %s, PostgreSQL %s", sc.name, s, a, b)
		}
	}
	for n := range sc.length {
		i, s := sc.next(n, one)
		if c := one.conns[i]; c.call != nil && !c.call.ended() {
			continue
		}
		trace = append(trace, fmt.Sprintf("%d: %s", i, s))
		one.conns[i].issue(s)
		settle(sim, one)
		two.conns[i].issue(s)
		total.statements++
		if !agree(t, one, two, real, total) {
			t.Fatalf("%s:\n%s", sc.name, strings.Join(trace, "\n"))
		}
		if undecided(one) {
			return
		}
	}
}

// settle waits until every call has ended or waits for a lock.
func settle(db *simdb.DB, s *side) {
	for ; ; time.Sleep(20 * time.Microsecond) {
		running := 0
		_, waiting := db.Busy()
		for _, c := range s.conns {
			if c.call != nil && !c.call.ended() {
				running++
			}
		}
		if running == waiting {
			return
		}
	}
}

// agree compares every connection's last call.
func agree(t *testing.T, one, two *side, db *sql.DB, total *tried) bool {
	for i, c := range one.conns {
		other := two.conns[i]
		if c.call == nil || other.call == nil {
			continue
		}
		if !c.call.ended() {
			if !waits(t, db, other) {
				t.Errorf("connection %d, %s: simdb waits, PostgreSQL answers %s", i, c.call.step, other.call.answer)
				return false
			}
			if !c.call.seen {
				c.call.seen = true
				total.waits++
				time.Sleep(10 * time.Millisecond) // it looks for deadlocks now, and not later
			}
			continue
		}
		select {
		case <-other.call.done:
		case <-time.After(10 * time.Second):
			t.Errorf("connection %d, %s: simdb answers %s, PostgreSQL waits", i, c.call.step, c.call.answer)
			return false
		}
		if c.call.answer != other.call.answer {
			t.Errorf("connection %d, %s: simdb answers %s, PostgreSQL %s", i, c.call.step, c.call.answer, other.call.answer)
			return false
		}
		switch {
		case strings.Contains(c.call.answer, "40P01"):
			total.deadlocks++
		case strings.Contains(c.call.answer, "error"):
			total.errors++
		}
		c.call, other.call = nil, nil
	}
	return true
}

// waits waits until the call waits for a lock, and reports false if it ends first.
func waits(t *testing.T, db *sql.DB, c *client) bool {
	for !c.call.ended() {
		var blocked bool
		if err := db.QueryRowContext(t.Context(), "SELECT cardinality(pg_blocking_pids($1)) > 0", c.pid).Scan(&blocked); err != nil {
			t.Fatal(err)
		}
		if blocked {
			return true
		}
	}
	return false
}

// undecided: a real server may go on in more than one way from here. Of two calls that
// wait it may carry on either, and of several rows it may have locked others first.
func undecided(s *side) bool {
	waiting := 0
	for _, c := range s.conns {
		if c.call == nil {
			continue
		}
		waiting++
		switch c.call.step.query {
		case deleteBoth, updateToken, deleteToken:
			return true
		}
	}
	return waiting > 1
}
