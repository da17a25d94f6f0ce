package vfs

import (
	"maps"
	"math/rand"
	"slices"
)

// Fate says how many bytes of the unsynced change number i reach the disk, of n
// that it has: 0 drops it, n keeps it, and anything between tears it. A change
// of a name or of a size has one "byte".
type Fate func(i, n int) int

// CrashWith returns the file system as it is found after a power loss in which
// each unsynced change met its fate.
func (m *Mem) CrashWith(fate Fate) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := NewMem()
	maps.Copy(after.dirs, m.dirs)
	names := maps.Clone(m.disk)
	data := map[*node][]byte{}
	contents := func(n *node) []byte {
		if _, ok := data[n]; !ok {
			data[n] = slices.Clone(n.disk)
		}
		return data[n]
	}
	for i, c := range m.pending {
		size := 1
		if c.kind == changeWrite {
			size = len(c.data)
		}
		keep := fate(i, size)
		switch {
		case keep == 0:
		case c.kind < changeCreate:
			data[c.node] = c.on(contents(c.node), keep)
		default:
			c.onNames(names)
		}
	}
	// A file has one node here however it came by its name.
	for path, n := range names {
		b := contents(n)
		fresh := &node{data: b, disk: slices.Clone(b), id: n.id}
		after.names[path], after.disk[path] = fresh, fresh
	}
	return after
}

// Crash is [Mem.CrashWith] with fates drawn from rng: sometimes everything is
// lost or everything kept, mostly any subset, torn here and there.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	keep := [...]float64{0, 0.1, 0.5, 0.9, 1}[rng.Intn(5)]
	tear := [...]float64{0, 0, 0.1, 0.5}[rng.Intn(4)]
	return m.CrashWith(func(_, n int) int {
		switch {
		case n > 1 && rng.Float64() < tear:
			return 1 + rng.Intn(n-1)
		case rng.Float64() < keep:
			return n
		default:
			return 0
		}
	})
}

// Unsynced returns the number of changes that a crash could still undo.
func (m *Mem) Unsynced() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// Kill returns the file system as the next process finds it when this one was
// killed but the machine lives: all that was written is there, synced or not,
// and nobody holds a lock. Faults and hooks are not inherited.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := NewMem()
	maps.Copy(after.dirs, m.dirs)
	copies := map[*node]*node{}
	fresh := func(n *node) *node {
		if copies[n] == nil {
			copies[n] = &node{data: slices.Clone(n.data), disk: slices.Clone(n.disk), id: n.id}
		}
		return copies[n]
	}
	for path, n := range m.names {
		after.names[path] = fresh(n)
	}
	for path, n := range m.disk {
		after.disk[path] = fresh(n)
	}
	for _, c := range m.pending {
		c.node = fresh(c.node)
		after.pending = append(after.pending, c)
	}
	return after
}
