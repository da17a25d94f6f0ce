package kill_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/wal"
)

// The participants, each with a database of its own. The last one is plain: it
// cannot list what it holds in doubt, so its transactions force their prepare
// record and the others don't.
var services = [...]string{"a", "b", "c", "plain"}

const plain = len(services) - 1

// The kinds of a branch. The shape of a transaction has one for each service; it
// ends the transaction's id, so that every process knows what an id stands for.
const (
	writes   = 'w' // leaves a token
	reads    = 'r' // writes a token all the same, then votes read-only
	declines = 'n' // writes a token too, then votes abort
	absent   = '-'
)

// shapeOf returns the shape of an id, or "" if it is none of ours.
func shapeOf(id dtc.TxID) string {
	shape := string(id[strings.LastIndexByte(string(id), '.')+1:])
	if len(shape) != len(services) {
		return ""
	}
	return shape
}

func branches(id dtc.TxID) []dtc.Branch {
	var all []dtc.Branch
	for i, kind := range shapeOf(id) {
		if kind != absent {
			all = append(all, dtc.Branch{Participant: services[i], Payload: []byte{byte(kind)}})
		}
	}
	return all
}

// A token says that a transaction left its effect at a service. There is no key
// that would hide a second one.
const schema = `
	CREATE TABLE IF NOT EXISTS token (tx TEXT NOT NULL, xid TEXT NOT NULL, applied INTEGER NOT NULL);
	CREATE INDEX IF NOT EXISTS token_xid ON token (xid)`

// A kill loses nothing that the operating system has, so the databases need not
// wait for the disk; the log does all the same.
func openDatabase(dir string, service int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, services[service]+".db")+
		"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	// Several, so that local transactions meet in the database and not only in
	// the pool; few, because SQLite waits for its one lock by sleeping.
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(2)
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func newGuard(db *sql.DB, service int) (*guard.Guard, error) {
	return guard.New(context.Background(), services[service], db, guard.SQLite,
		guard.Funcs{Prepare: reserve, Commit: apply, Rollback: release},
		&guard.Options{
			PruneEvery:         32, // often, so that rows go in a short life too
			AllowLossyDatabase: true,
		})
}

func reserve(ctx context.Context, tx *sql.Tx, b dtc.Branch) (dtc.Vote, error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO token VALUES (?, ?, 0)", b.TxID, b.XID.String()); err != nil {
		return dtc.VoteAbort, err
	}
	switch b.Payload[0] {
	case reads:
		return dtc.VoteReadOnly, nil
	case declines:
		return dtc.VoteAbort, nil
	}
	return dtc.VoteCommit, nil
}

func apply(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return one(tx.ExecContext(ctx, "UPDATE token SET applied = applied + 1 WHERE xid = ?", b.XID.String()))
}

func release(ctx context.Context, tx *sql.Tx, b dtc.Branch) error {
	return one(tx.ExecContext(ctx, "DELETE FROM token WHERE xid = ?", b.XID.String()))
}

func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d tokens changed, want 1", n)
	}
	return err
}

// node is a coordinator with its participants.
type node struct {
	*dtc.Coordinator
	dbs []*sql.DB
}

// openNode opens a node. say gets a line for all that the parent counts or does
// not want to see; breakage names a deliberate bug, see breaks_test.go.
func openNode(dir, breakage string, say func(format string, args ...any)) (*node, error) {
	n := &node{}
	cfg := &dtc.Config{
		Timing: dtc.Timing{
			PrepareAttempt: 5 * time.Second, // many writers, one lock, one slow disk
			Backoff:        2 * time.Millisecond, FinishBackoffCap: 50 * time.Millisecond,
		},
		// All the time, so that listings meet transactions in every state.
		SweepInterval: 20 * time.Millisecond,
		Logger:        slog.New(alarms{say}),
		Trace: &dtc.Trace{
			Recovered: func(records, unfinished int, _ time.Duration) { say("recovered %d %d", records, unfinished) },
			Swept: func(participant string, listed, orphans int, err error) {
				if orphans > 0 {
					say("swept %d", orphans)
				}
			},
			Hazard: func(c dtc.TraceCall) { say("alarm hazard: %+v", c) },
		},
	}
	for i := range services {
		db, err := openDatabase(dir, i)
		if err != nil {
			return nil, err
		}
		n.dbs = append(n.dbs, db)
		g, err := newGuard(db, i)
		if err != nil {
			return nil, err
		}
		p := broken(g, breakage)
		if i == plain {
			p = struct{ dtc.Participant }{p} // hides InDoubt
		}
		cfg.Participants = append(cfg.Participants, p)
	}
	say("opening")
	log, err := wal.Open(filepath.Join(dir, "log"), &wal.Options{SegmentSize: segmentSize})
	if err != nil {
		return nil, err
	}
	if n.Coordinator, err = dtc.OpenLog(log, cfg); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	say("open")
	return n, nil
}

// segmentSize is small, so that kills also fall between two segments.
const segmentSize = 16 << 10

func (n *node) close() error {
	err := n.Coordinator.Close()
	for _, db := range n.dbs {
		err = errors.Join(err, db.Close())
	}
	return err
}

// alarms is a log handler that turns errors into lines: in this test nobody does
// anything that the coordinator would have to call a person for.
type alarms struct {
	say func(format string, args ...any)
}

func (alarms) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (a alarms) Handle(_ context.Context, r slog.Record) error {
	var text strings.Builder
	text.WriteString(r.Message)
	r.Attrs(func(at slog.Attr) bool { text.WriteString(" " + at.String()); return true })
	word := "warning"
	if r.Level >= slog.LevelError {
		word = "alarm"
	}
	a.say("%s %s", word, strings.ReplaceAll(text.String(), "\n", " "))
	return nil
}

func (a alarms) WithAttrs([]slog.Attr) slog.Handler { return a }
func (a alarms) WithGroup(string) slog.Handler      { return a }

// everyNth returns a function that is true once in n calls.
func everyNth(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}
