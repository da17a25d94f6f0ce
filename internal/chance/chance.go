// Package chance is where everything random that a coordinator and its log use
// comes from: the names of logs and openings, ids, and the jitter of retries. In a
// program it comes from the system. The simulator puts a seed in its place, so that
// a run can be had again.
package chance

import (
	crypto "crypto/rand"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Read fills b with random bytes that nobody can foretell. It never fails.
func Read(b []byte) {
	if s := source; s != nil {
		_, _ = io.ReadFull(s.reader, b)
		return
	}
	_, _ = crypto.Read(b)
}

// Int64N returns a number in [0, n), evenly distributed. It panics if n <= 0.
func Int64N(n int64) int64 {
	if s := source; s != nil {
		return s.rand.Int64N(n)
	}
	return rand.Int64N(n)
}

// Apart returns how long a timer runs that shall ring after d. In a program that is d.
// Timers of one instant ring in an order that is a matter of chance, so under a seed
// they are some nanoseconds apart, in the order in which they were set.
func Apart(d time.Duration) time.Duration {
	if s := source; s != nil {
		d += time.Duration(s.timers.Add(1) % 1000)
	}
	return d
}

// seeded is a source that can be had again.
type seeded struct {
	reader *rand.ChaCha8
	rand   *rand.Rand
	timers atomic.Int64
}

var source *seeded

// Turn lets a goroutine that takes in what others put down for it wait for its turn.
// In a program it does nothing, and how much is there is a matter of chance. The
// simulator lets it wait until everybody else waits too. No lock may be held.
func Turn() {
	if f := turn; f != nil {
		f()
	}
}

// Turns reports whether Turn does anything.
func Turns() bool { return turn != nil }

var turn func()

// SetTurn makes Turn call f until restore is called, under the conditions of [Seed].
func SetTurn(f func()) (restore func()) {
	old := turn
	turn = f
	return func() { turn = old }
}

// Seed lets everything follow from seed until restore is called. It is for tests, in
// which nothing else runs meanwhile and one goroutine at a time.
func Seed(seed [32]byte) (restore func()) {
	old := source
	reader := rand.NewChaCha8(seed)
	source = &seeded{reader: reader, rand: rand.New(reader)}
	return func() { source = old }
}
