package grind

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/tally"
)

// doubtEnv holds the orders of a child that leaves branches in doubt.
const doubtEnv = "DTC_TEST_DOUBT"

type doubtOrders struct {
	Log, DSN string
	Branches int
}

// withheld is a participant that is told nothing of the decisions.
type withheld struct{ dtc.Participant }

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

// IsDoubtChild reports whether this process is a child of [TestDoubt].
func IsDoubtChild() bool { return os.Getenv(doubtEnv) != "" }

// DoubtChild prepares branches of the participant "orders", nine in ten of which are
// decided, and is killed. The payload is that of the i-th branch, which inserts a row.
func DoubtChild(open func(ctx context.Context, dsn string) (dtc.Participant, error), payload func(i int64) []byte) int {
	var o doubtOrders
	if err := json.Unmarshal([]byte(os.Getenv(doubtEnv)), &o); err != nil {
		return Complain(err)
	}
	ctx := context.Background()
	db, err := open(ctx, o.DSN)
	if err != nil {
		return Complain(err)
	}
	c, err := dtc.Open(o.Log, &dtc.Config{
		Participants: []dtc.Participant{withheld{db}, voter}, MaxTransactions: 4 * o.Branches, CompletionWait: -1,
		Timing: dtc.Timing{PrepareTimeout: time.Hour, PrepareAttempt: time.Hour, Concurrency: 4 * o.Branches},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return Complain(err)
	}
	var next atomic.Int64
	for range 32 {
		go func() {
			for i := next.Add(1); i <= int64(o.Branches); i = next.Add(1) {
				run := func(other string) {
					_, err := c.Execute(ctx, dtc.TxID(fmt.Sprintf("doubt-%d", i)), dtc.Branch{Participant: "orders", Payload: payload(i)},
						dtc.Branch{Participant: "other", Payload: []byte(other)})
					if err != nil {
						os.Exit(Complain(err))
					}
				}
				if i%10 > 0 {
					run("")
				} else {
					go run("never")
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 3
}

// Doubt is a database with many branches in doubt.
type Doubt struct {
	Name                string // of the kind, in what is counted
	DSN                 string
	Branches            int
	DB                  dtc.Participant
	Prepared, Committed func() int // what is prepared there, and the rows of branches that have committed
}

// TestDoubt kills a coordinator that leaves many branches in doubt at one server, and
// finishes them. How long it takes is printed.
func TestDoubt(t *testing.T, d Doubt) {
	log := filepath.Join(t.TempDir(), "log")
	child := launch(t, doubtEnv, doubtOrders{Log: log, DSN: d.DSN, Branches: d.Branches})
	for n, still := 0, 0; n < d.Branches; time.Sleep(100 * time.Millisecond) {
		was := n
		if n = d.Prepared(); n > was {
			still = 0
		}
		if still++; still > 300 {
			t.Fatalf("%d are prepared: %s", n, child.Stderr())
		}
	}
	// The votes are on the way to the log; what has not arrived is rolled back.
	child.Kill()

	began := time.Now()
	var once sync.Once
	c, err := dtc.Open(log, &dtc.Config{
		Participants: []dtc.Participant{d.DB, voter}, MaxTransactions: 4 * d.Branches, Logger: slog.New(slog.DiscardHandler),
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
	for try := 0; try < 30000 && (c.Stats().Unfinished > 0 || d.Prepared() > 0); try++ {
		time.Sleep(10 * time.Millisecond)
	}
	took, committed := time.Since(began), d.Committed()
	t.Logf("%d branches in doubt finished in %v, %d of them committed", d.Branches, took.Round(time.Millisecond), committed)
	if s := c.Stats(); int(s.Committed) != committed || s.Hazards > 0 || s.Unfinished > 0 {
		t.Errorf("%+v", s)
	}
	if committed < d.Branches*8/10 || committed > d.Branches*9/10 {
		t.Errorf("%d of %d are committed, want about nine in ten", committed, d.Branches)
	}
	tally.Add(t, "databases", d.Name+": branches in doubt when their coordinator was killed", int64(d.Branches), 500)
}
