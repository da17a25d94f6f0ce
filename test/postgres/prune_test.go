package postgres_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc/postgres"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// records counts what a logger writes.
type records struct{ n atomic.Int64 }

func (r *records) Write(b []byte) (int, error) {
	r.n.Add(1)
	return len(b), nil
}

// TestPruneBeside: whoever finishes a branch has its answer while rows are still to be dropped.
func TestPruneBeside(t *testing.T) {
	w := newWorld(t, servers.SharedPostgres(t))
	var failed records
	db := w.participant(t, "orders", &postgres.Options{PruneEvery: 1, Logger: slog.New(slog.NewTextHandler(&failed, nil))})
	held, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(t.Context()) }()
	if _, err := held.Exec(t.Context(), "LOCK TABLE dtc_low_water IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	waits := func() bool {
		return w.count(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'dtc_low_water'::regclass") > 0
	}
	s, beside := newSeries(), false
	for range 30 { // low water is not stored, and given up after a while with a word about it
		before := failed.n.Load()
		b := s.branch("undone")
		b.LowWater = b.XID
		if err := db.Rollback(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if beside = waits() && failed.n.Load() == before; beside {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !beside {
		t.Error("a branch was finished only when the rows had been seen to")
	}
}
