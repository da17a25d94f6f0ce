package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/measure"
	"github.com/dtc-project/dtc/wal"
)

// BenchmarkGrowth runs ten million transactions and reports how large the log's
// directory ever was: in the first 100,000, in the first quarter, and over all. What
// is remembered is bounded by a million outcomes, as usual, or by 50,000; then the
// segments are of 1 MiB, so that 100,000 transactions fill more than a few of them.
// With a dead participant, a thousand transactions wait for it from the beginning to
// the end.
func BenchmarkGrowth(b *testing.B) {
	for _, outcomes := range []int{50_000, 1_000_000} {
		for _, dead := range []bool{false, true} {
			b.Run(fmt.Sprintf("outcomes=%d/dead=%v", outcomes, dead), func(b *testing.B) {
				for range b.N {
					grow(b, 10_000_000, outcomes, dead)
				}
			})
		}
	}
}

func grow(b *testing.B, transactions int64, outcomes int, dead bool) {
	dir := b.TempDir()
	gone := measure.Noop("gone", false, false).(dtc.ParticipantFuncs)
	gone.CommitFunc = func(context.Context, dtc.Branch) error { return errors.New("not there") }
	cfg := &dtc.Config{
		Participants: []dtc.Participant{measure.Noop("a", true, false), measure.Noop("b", true, false), gone},
		Logger:       slog.New(slog.DiscardHandler),
		OutcomeLimit: outcomes,
	}
	c, err := openSmall(dir, cfg)
	if err != nil {
		b.Fatal(err)
	}
	if dead {
		for i := range 1000 {
			id, opts := dtc.TxID("waits-"+strconv.Itoa(i)), &dtc.TxOptions{CompletionWait: -1}
			if ok, err := c.ExecuteWith(context.Background(), id, opts, dtc.Branch{Participant: "a"}, dtc.Branch{Participant: "gone"}); !ok {
				b.Fatal(err)
			}
		}
	}
	var seq, early, quarter, most atomic.Int64
	stop := make(chan struct{})
	var watch, callers sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			size := sizeOf(dir)
			if seq.Load() < 100_000 {
				early.Store(max(early.Load(), size))
			}
			if seq.Load() < transactions/4 {
				quarter.Store(max(quarter.Load(), size))
			}
			most.Store(max(most.Load(), size))
		}
	})
	for range 400 {
		callers.Go(func() {
			for n := seq.Add(1); n <= transactions; n = seq.Add(1) {
				id := dtc.TxID("order-" + strconv.FormatInt(n, 10))
				if ok, err := c.Execute(context.Background(), id, dtc.Branch{Participant: "a"}, dtc.Branch{Participant: "b"}); !ok {
					panic(err)
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	watch.Wait()
	waiting := c.Stats().Unfinished
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if c, err = openSmall(dir, cfg); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-to-open")
	if left := c.Stats().Unfinished; left != waiting || dead != (left == 1000) {
		b.Fatalf("%d are unfinished, before the restart %d", left, waiting)
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(early.Load())/1e6, "MB-most-in-first-100000")
	b.ReportMetric(float64(quarter.Load())/1e6, "MB-most-in-first-quarter")
	b.ReportMetric(float64(most.Load())/1e6, "MB-most")
	b.ReportMetric(0, "ns/op")
}

// openSmall opens a coordinator, whose segments are small if it remembers little.
func openSmall(dir string, cfg *dtc.Config) (*dtc.Coordinator, error) {
	if cfg.OutcomeLimit > 50_000 {
		return dtc.Open(dir, cfg)
	}
	log, err := wal.Open(dir, &wal.Options{SegmentSize: 1 << 20, OutcomeLimit: cfg.OutcomeLimit})
	if err != nil {
		return nil, err
	}
	return dtc.OpenLog(log, cfg)
}

// sizeOf returns how much the files of a directory hold.
func sizeOf(dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it is gone meanwhile
			n += info.Size()
		}
	}
	return n
}
