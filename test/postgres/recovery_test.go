package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/procs"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// doubtEnv holds the orders of a child that leaves branches in doubt.
const doubtEnv = "DTC_TEST_POSTGRES_DOUBT"

type doubtOrders struct {
	Log, DSN string
	Branches int
}

// withheld is a participant that is told nothing of the decisions.
type withheld struct{ *postgres.Database }

func (withheld) Commit(context.Context, dtc.Branch) error   { return dtc.ErrNoAnswer }
func (withheld) Rollback(context.Context, dtc.Branch) error { return dtc.ErrNoAnswer }

// voter votes to commit; a tenth of the transactions waits for its vote for ever.
var voter = dtc.ParticipantFuncs{ParticipantID: "other", PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if string(b.Payload) == "never" {
		<-ctx.Done()
		return dtc.VoteAbort, ctx.Err()
	}
	return dtc.VoteCommit, nil
}}

// doubtChild prepares branches, nine in ten of which are decided, and is killed.
func doubtChild() int {
	var o doubtOrders
	if err := json.Unmarshal([]byte(os.Getenv(doubtEnv)), &o); err != nil {
		return complain(err)
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, o.DSN+"&pool_max_conns=32")
	if err != nil {
		return complain(err)
	}
	db, err := postgres.Open(ctx, "orders", pool, nil)
	if err != nil {
		return complain(err)
	}
	c, err := dtc.Open(o.Log, &dtc.Config{
		Participants: []dtc.Participant{withheld{db}, voter}, MaxTransactions: 4 * o.Branches, CompletionWait: -1,
		Timing: dtc.Timing{PrepareTimeout: time.Hour, PrepareAttempt: time.Hour, Concurrency: 4 * o.Branches},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return complain(err)
	}
	var next atomic.Int64
	for range 32 {
		go func() {
			for i := next.Add(1); i <= int64(o.Branches); i = next.Add(1) {
				payload := ""
				run := func() {
					work := statements(postgres.Statement{SQL: "INSERT INTO token (xid) VALUES ($1)", Args: args(i)})
					_, err := c.Execute(ctx, dtc.TxID(fmt.Sprintf("doubt-%d", i)), dtc.Branch{Participant: "orders", Payload: work},
						dtc.Branch{Participant: "other", Payload: []byte(payload)})
					if err != nil {
						os.Exit(complain(err))
					}
				}
				if i%10 > 0 {
					run()
					continue
				}
				payload = "never"
				go run()
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 3
}

// TestRecovery kills a coordinator that leaves many branches in doubt at one server, and
// finishes them. DTC_IN_DOUBT says how many. How long it takes is printed.
func TestRecovery(t *testing.T) {
	branches := fromEnv(t, "DTC_IN_DOUBT", 500)
	w := newWorld(t, servers.Postgres(t, fmt.Sprintf("max_prepared_transactions=%d", branches+100)))
	log := filepath.Join(t.TempDir(), "log")
	orders, err := json.Marshal(doubtOrders{Log: log, DSN: w.dsn, Branches: branches})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), doubtEnv+"="+string(orders))
	child := procs.Launch(t, "coordinator", cmd)
	for n := -1; n < branches; {
		was := n
		err := poll(t.Context(), func() (bool, error) {
			n = w.count(t, "SELECT count(*) FROM pg_prepared_xacts")
			return n > was || n == branches, nil
		})
		if err != nil {
			t.Fatalf("%d are prepared: %v: %s", n, err, child.Stderr())
		}
	}
	// The votes are on the way to the log; what has not arrived is rolled back.
	child.Kill()

	began := time.Now()
	var once sync.Once
	c, err := dtc.Open(log, &dtc.Config{
		Participants: []dtc.Participant{w.db, voter}, MaxTransactions: 4 * branches, Logger: slog.New(slog.DiscardHandler),
		Trace: &dtc.Trace{Recovered: func(records, unfinished int, took time.Duration) {
			once.Do(func() {
				t.Logf("%d records read and %d transactions revived in %v", records, unfinished, took.Round(time.Millisecond))
			})
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for range 10 {
		if poll(t.Context(), func() (bool, error) {
			return c.Stats().Unfinished == 0 && w.count(t, "SELECT count(*) FROM pg_prepared_xacts") == 0, nil
		}) == nil {
			break
		}
	}
	took := time.Since(began)
	committed := w.count(t, "SELECT count(*) FROM token")
	t.Logf("%d branches in doubt finished in %v, %d of them committed", branches, took.Round(time.Millisecond), committed)
	w.clean(t)
	if s := c.Stats(); int(s.Committed) != committed || s.Hazards > 0 || s.Unfinished > 0 {
		t.Errorf("%+v", s)
	}
	if committed < branches*8/10 || committed > branches*9/10 {
		t.Errorf("%d of %d are committed, want about nine in ten", committed, branches)
	}
	tally.Add(t, "databases", "PostgreSQL: branches in doubt when their coordinator was killed", int64(branches), 500)
}
