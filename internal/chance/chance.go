// Package chance is where everything random that a coordinator and its log use
// comes from: the names of logs and openings, ids, and the jitter of retries. In a
// program it comes from the system. The simulator puts a seed in its place, so that
// a run can be had again.
package chance

import (
	crypto "crypto/rand"
	"io"
	"math/rand/v2"
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

// seeded is a source that can be had again.
type seeded struct {
	reader *rand.ChaCha8
	rand   *rand.Rand
}

var source *seeded

// Seed lets everything follow from seed until restore is called. It is for tests, in
// which nothing else runs meanwhile and one goroutine at a time.
func Seed(seed [32]byte) (restore func()) {
	old := source
	reader := rand.NewChaCha8(seed)
	source = &seeded{reader: reader, rand: rand.New(reader)}
	return func() { source = old }
}
