package bench

import (
	"fmt"
	"testing"

	"github.com/dtc-project/dtc/internal/measure"
)

// BenchmarkCommit runs whole transactions with two participants that do nothing,
// and the bare limit, in turn.
func BenchmarkCommit(b *testing.B) {
	for _, kind := range []struct {
		name            string
		blocking, plain bool
	}{{"listing", false, false}, {"listing-blocking", true, false}, {"plain", false, true}} {
		for _, callers := range []int{1, 16, 400} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind.name, callers), func(b *testing.B) {
				compare(b, measure.Setup{Callers: callers, Blocking: kind.blocking, Plain: kind.plain})
			})
		}
	}
}

// BenchmarkCallers shows how throughput grows with those who wait at a time.
func BenchmarkCallers(b *testing.B) {
	for _, callers := range []int{1, 4, 16, 64, 256, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) { compare(b, measure.Setup{Callers: callers}) })
	}
}

// BenchmarkParticipants shows what a participant more costs, at 64 callers.
func BenchmarkParticipants(b *testing.B) {
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { compare(b, measure.Setup{Callers: 64, Participants: n}) })
	}
}

func compare(b *testing.B, s measure.Setup) {
	for range b.N {
		s.Dir = b.TempDir()
		row, err := measure.Compare(s)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(row.TxPerS, "tx/s")
		b.ReportMetric(row.BarePerS, "bare/s")
		b.ReportMetric(row.Ratio, "ratio")
		b.ReportMetric(row.LogPerS, "log/s")
		b.ReportMetric(row.LogRatio, "log-ratio")
		b.ReportMetric(row.FsyncsPerTx, "syncs/tx")
		b.ReportMetric(float64(row.CPUPerTx.Nanoseconds()), "cpu-ns/tx")
		b.ReportMetric(float64(row.P50.Microseconds()), "p50-us")
		b.ReportMetric(float64(row.P99.Microseconds()), "p99-us")
		b.ReportMetric(0, "ns/op")
	}
}
