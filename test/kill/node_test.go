package kill_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/wal"
)

// The participants, each with a database of its own. Plain cannot list what it holds in
// doubt, so its transactions force their prepare record and the others don't. Once commits
// in one phase.
var services = [...]string{"a", "b", "c", "plain", "once"}

// The numbers of two of them.
const (
	plain = 3
	once  = 4
)

// shapeOf returns the shape of an id, or "" if it is none of ours.
func shapeOf(id dtc.TxID) string {
	shape := oracle.ShapeOf(id)
	if len(shape) != len(services) {
		return ""
	}
	return shape
}

// onePhase reports whether a transaction commits in one phase.
func onePhase(id dtc.TxID) bool {
	shape := shapeOf(id)
	return shape != "" && strings.Trim(shape[:once], "-") == "" && shape[once] != oracle.Absent
}

func branches(id dtc.TxID) []dtc.Branch {
	var all []dtc.Branch
	for i, kind := range shapeOf(id) {
		if kind != oracle.Absent {
			all = append(all, dtc.Branch{Participant: services[i], Payload: oracle.Payload(kind)})
		}
	}
	return all
}

func openDatabase(dir string, service int) (*sql.DB, error) {
	return oracle.Open(filepath.Join(dir, services[service]+".db"))
}

// node is a coordinator with its participants.
type node struct {
	*dtc.Coordinator
	dbs  []*sql.DB
	once *oracle.Once
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
		p, err := n.participant(db, i, breakage)
		if err != nil {
			return nil, err
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

func (n *node) participant(db *sql.DB, i int, breakage string) (dtc.Participant, error) {
	if i == once {
		var err error
		n.once, err = oracle.NewOnce(db, services[i], breakage)
		return n.once, err
	}
	g, err := oracle.NewGuard(db, services[i])
	if err != nil {
		return nil, err
	}
	p := broken(g, breakage)
	if i == plain {
		p = struct{ dtc.Participant }{p} // hides InDoubt
	}
	return p, nil
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
