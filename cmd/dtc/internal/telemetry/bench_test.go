package telemetry

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// transaction calls the hooks as a transaction of two branches does that commits.
func transaction(tr *dtc.Trace, began time.Time) {
	for _, verb := range [...]string{"prepare", "commit"} {
		for _, p := range [...]string{"inventory", "payment"} {
			tr.Called(dtc.TraceCall{TxID: "t", Participant: p, Verb: verb, Attempt: 1}, dtc.VoteCommit, nil, time.Millisecond)
		}
	}
	tr.Decided(dtc.TraceTx{TxID: "t", Started: began}, dtc.Committed, dtc.Reason{})
}

// TestHooksAllocateNothing: in the steady state.
func TestHooksAllocateNothing(t *testing.T) {
	tr, began := New("v1.2.3").Trace(nil), time.Now()
	transaction(tr, began)
	if n := testing.AllocsPerRun(1000, func() { transaction(tr, began) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkHooks is what the metrics add to a transaction of two branches.
func BenchmarkHooks(b *testing.B) {
	tr, began := New("v1.2.3").Trace(nil), time.Now()
	for range 20 { // other participants
		tr.Called(dtc.TraceCall{Participant: fmt.Sprint("p", b.N), Verb: "commit"}, dtc.VoteCommit, nil, 0)
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			transaction(tr, began)
		}
	})
	b.Run("beside", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				transaction(tr, began)
			}
		})
	})
}

// BenchmarkScrape is what a scrape costs, with so many transactions in doubt at one
// participant.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{0, 49_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := New("v1.2.3")
			log, err := wal.Open("log", &wal.Options{FS: vfs.NewMem()})
			if err != nil {
				b.Fatal(err)
			}
			p := newService("a")
			p.Memory = dtctest.NewMemory("a")
			p.away.Store(true)
			c, err := dtc.OpenLog(log, &dtc.Config{Participants: []dtc.Participant{p}, Logger: quiet, Trace: m.Trace(nil), CompletionWait: -1})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			for i := range n {
				if ok, err := c.Execute(b.Context(), dtc.TxID(fmt.Sprint(i)), branches("a")...); !ok {
					b.Fatal(err)
				}
			}
			m.Watch(c, log, b.TempDir(), nil)
			h := m.Handler()
			req := httptest.NewRequestWithContext(b.Context(), "GET", "/metrics", nil)
			b.Run("all", func(b *testing.B) {
				for b.Loop() {
					h.ServeHTTP(httptest.NewRecorder(), req)
				}
			})
			b.Run("ActiveByState", func(b *testing.B) {
				for b.Loop() {
					c.ActiveByState()
				}
			})
			b.Run("Transactions", func(b *testing.B) { // what it is instead of
				for b.Loop() {
					for range c.Transactions(dtc.Filter{}) {
					}
				}
			})
		})
	}
}

// BenchmarkTransaction is a transaction of two participants that never block, over a
// log in memory: with the hooks and without.
func BenchmarkTransaction(b *testing.B) {
	for _, counted := range []bool{false, true} {
		b.Run(fmt.Sprint("counted=", counted), func(b *testing.B) {
			m, o := New("v1.2.3"), &wal.Options{FS: vfs.NewMem(), SegmentSize: 1 << 20}
			cfg := &dtc.Config{Logger: quiet, Participants: []dtc.Participant{instant("a"), instant("b")}}
			if counted {
				m.Log(o)
				cfg.Trace = m.Trace(nil)
			}
			log, err := wal.Open("log", o)
			if err != nil {
				b.Fatal(err)
			}
			c, err := dtc.OpenLog(log, cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			work := branches("a", "b")
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if ok, err := c.Execute(context.Background(), dtc.TxID("t"+strconv.FormatInt(n.Add(1), 10)), work...); !ok {
						b.Error(err)
					}
				}
			})
		})
	}
}

// instant is a participant that takes no time.
type instant string

func (i instant) ID() string      { return string(i) }
func (instant) NonBlocking() bool { return true }
func (instant) Listing() bool     { return true }
func (instant) Prepare(context.Context, dtc.Branch) (dtc.Vote, error) {
	return dtc.VoteCommit, nil
}
func (instant) Commit(context.Context, dtc.Branch) error   { return nil }
func (instant) Rollback(context.Context, dtc.Branch) error { return nil }
func (instant) InDoubt(context.Context, dtc.LogID) ([]dtc.InDoubtBranch, error) {
	return nil, nil
}
