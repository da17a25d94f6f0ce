package measure

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load calls f from so many goroutines for a while, and returns how many calls it
// made each second, and how long some of them took.
func Load(callers int, slice time.Duration, f func()) (perSecond float64, took []time.Duration) {
	return load(callers, slice, nil, f)
}

// load is Load, or less of it when stop is closed.
func load(callers int, slice time.Duration, stop <-chan struct{}, f func()) (perSecond float64, took []time.Duration) {
	var done atomic.Bool
	var total atomic.Int64
	var all sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			n := int64(0)
			var mine []time.Duration
			for ; !done.Load(); n++ {
				if n%sampled != 0 {
					f()
					continue
				}
				start := time.Now()
				f()
				mine = append(mine, time.Since(start))
			}
			total.Add(n)
			all.Lock()
			took = append(took, mine...)
			all.Unlock()
		})
	}
	select {
	case <-time.After(slice):
	case <-stop:
	}
	done.Store(true)
	wg.Wait()
	return float64(total.Load()) / time.Since(began).Seconds(), took
}

// sampled: the time of one call in so many is taken.
const sampled = 16

// Median returns the middle of the values, which it sorts.
func Median[T int | float64 | time.Duration](v []T) T { return Quantile(v, 0.5) }

// Quantile returns the value below which so much of the values lies. It sorts them.
func Quantile[T int | float64 | time.Duration](v []T, q float64) (at T) {
	if len(v) == 0 {
		return at
	}
	slices.Sort(v)
	return v[min(len(v)-1, int(q*float64(len(v))))]
}
