package dtc

import (
	"time"

	"github.com/dtc-project/dtc/internal/chance"
)

// backoff returns the wait before attempt n+1, after n failed ones: exponential
// from base to limit, with full jitter, so that many waiters do not come back in
// step (Brooker, "Exponential Backoff and Jitter").
func backoff(n int, base, limit time.Duration, random func(int64) int64) time.Duration {
	wait := limit
	if n < 1 {
		n = 1
	}
	if shift := n - 1; shift < 32 && base<<shift>>shift == base && base<<shift < limit {
		wait = base << shift
	}
	if wait <= 0 {
		return 0
	}
	return time.Duration(random(int64(wait))) + 1
}

func jitter(n int64) int64 { return chance.Int64N(n) }
