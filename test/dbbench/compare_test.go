package dbbench_test

import (
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	accounts = 10_000
	rounds   = 9
	length   = time.Second // of one round
)

// next numbers the transactions of all kinds.
var next atomic.Int64

// kind is one way to do the same.
type kind struct {
	name string
	run  func(n int64) error
}

// compare runs the kinds in turn, and reports the median rate of each and the ratio of the
// first to each of the others. What they cost beside time is told by spent, if it is not nil.
func compare(b *testing.B, workers int, kinds []kind, spent func() (cost, error)) {
	if spent == nil {
		spent = func() (cost, error) { return cost{}, nil }
	}
	round := func(k kind) (rate float64, c cost) {
		first := next.Load()
		before, err := spent()
		if err == nil {
			rate, err = drive(workers, k.run)
		}
		after, serr := spent()
		if err == nil {
			err = serr
		}
		if err != nil {
			b.Fatalf("%s: %v", k.name, err)
		}
		return rate, cost{}.plus(after.plus(before, -1), 1/float64(next.Load()-first))
	}
	for _, k := range kinds { // connections are made, and know the statements
		round(k)
	}
	rates, costs := map[string][]float64{}, map[string]cost{}
	for r := range rounds {
		for i := range kinds {
			k := kinds[(i+r)%len(kinds)] // none always comes first
			rate, c := round(k)
			rates[k.name] = append(rates[k.name], rate)
			costs[k.name] = costs[k.name].plus(c, 1.0/rounds)
		}
	}
	median := map[string]float64{}
	for _, k := range kinds {
		slices.Sort(rates[k.name])
		median[k.name] = rates[k.name][rounds/2]
		b.ReportMetric(median[k.name], k.name+"/s")
		b.Logf("%-6s rates %.0f", k.name, rates[k.name])
		if c := costs[k.name]; c != (cost{}) {
			b.Logf("%-6s one transaction: client %.0f us, servers %.0f us, log %.0f bytes", k.name, c.client, c.server, c.wal)
		}
		if k.name != kinds[0].name {
			b.ReportMetric(median[kinds[0].name]/median[k.name], "ratio-to-"+k.name)
		}
	}
	b.ReportMetric(0, "ns/op")
	load, _ := os.ReadFile("/proc/loadavg")
	b.Logf("load %s", strings.TrimSpace(string(load)))
}

// drive runs transactions for the length of a round, and returns how many in a second.
func drive(workers int, run func(n int64) error) (float64, error) {
	var all sync.WaitGroup
	var done atomic.Int64
	errs := make([]error, workers)
	began := time.Now()
	for i := range workers {
		all.Go(func() {
			for errs[i] == nil && time.Since(began) < length {
				errs[i] = run(next.Add(1))
				done.Add(1)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return float64(done.Load()) / time.Since(began).Seconds(), nil
}
