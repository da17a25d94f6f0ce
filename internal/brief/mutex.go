// Package brief has a mutex for what is held only briefly.
package brief

import "sync"

// Mutex guards what is held for less time than it takes to park a goroutine.
// With hundreds of callers that were woken by one sync, parking on a busy
// [sync.Mutex] makes it hand itself from waiter to waiter, a switch of goroutines
// for every lock; trying a little longer first avoids that. Nothing that waits,
// and nothing of a caller's, may happen while it is held.
type Mutex struct{ mu sync.Mutex }

// tries bounds the spinning to about a microsecond: the holder runs on another
// processor, or has lost its own, and then parking is right.
const tries = 100

// Lock locks m.
func (m *Mutex) Lock() {
	for range tries {
		if m.mu.TryLock() {
			return
		}
	}
	m.mu.Lock()
}

// Unlock unlocks m.
func (m *Mutex) Unlock() { m.mu.Unlock() }
