package telemetry

import (
	"fmt"
	"net/http/httptest"
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
