package vfs

import (
	"slices"
	"syscall"
)

// Counts is what a Mem was asked to do.
type Counts struct {
	Syncs  int // Sync, Preallocate and SyncDir
	Writes int
	Bytes  int64
}

// faults are countdowns: 1 is the next call, 0 is off.
type faults struct {
	sync       int
	write      int
	writeKeep  int
	writeErr   error
	limited    bool
	spaceBytes int64
	spaceErr   error
}

// Counts returns the counts so far.
func (m *Mem) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Syncs returns how often anything was synced so far.
func (m *Mem) Syncs() int { return m.Counts().Syncs }

// SetHook has hook called around each operation, with "before create" or "after
// sync" and so on, and the path. An error before means that the operation is not
// carried out; an error after means that it was, and reports the error. nil ends
// it. The hook may call Crash and Kill.
func (m *Mem) SetHook(hook func(op, path string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// FailSync makes the k-th sync from now fail with EIO, once. As on Linux, what
// it should have made durable is then taken for clean: processes still see it,
// later syncs succeed, and a power loss undoes it.
func (m *Mem) FailSync(k int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.sync = k
}

// FailWrite makes the k-th write from now write only keep bytes and return err,
// which may be nil: a short write.
func (m *Mem) FailWrite(k, keep int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.write, m.faults.writeKeep, m.faults.writeErr = k, keep, err
}

// LimitSpace leaves room for files to grow by bytes in all; then ENOSPC. What is
// removed or cut gives its room back.
func (m *Mem) LimitSpace(bytes int64) { m.limit(bytes, syscall.ENOSPC) }

// LimitQuota is LimitSpace where a quota sets the limit; then EDQUOT.
func (m *Mem) LimitQuota(bytes int64) { m.limit(bytes, syscall.EDQUOT) }

func (m *Mem) limit(bytes int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.limited, m.faults.spaceBytes, m.faults.spaceErr = true, bytes, err
}

func (m *Mem) take(bytes int64) error {
	if !m.faults.limited {
		return nil
	}
	if bytes > m.faults.spaceBytes {
		return m.faults.spaceErr
	}
	m.faults.spaceBytes -= bytes
	return nil
}

func (m *Mem) writeFault(n int) (int, error) {
	if !countdown(&m.faults.write) {
		return n, nil
	}
	return min(n, m.faults.writeKeep), m.faults.writeErr
}

func countdown(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return *n == 0
}

// sync makes the pending changes that match durable, or loses them.
func (m *Mem) sync(path string, match func(change) bool) error {
	m.counts.Syncs++
	failed := countdown(&m.faults.sync)
	m.pending = slices.DeleteFunc(m.pending, func(c change) bool {
		if !match(c) {
			return false
		}
		switch {
		case failed:
		case c.kind < changeCreate:
			c.node.disk = c.on(c.node.disk, len(c.data))
		default:
			c.onNames(m.disk)
		}
		return true
	})
	if failed {
		return pathError("sync", path, syscall.EIO)
	}
	return nil
}

// step carries out one operation between the hook's two calls.
func (m *Mem) step(op, path string, do func() error) error {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		if err := hook("before "+op, path); err != nil {
			return pathError(op, path, err)
		}
	}
	m.mu.Lock()
	err := do()
	m.mu.Unlock()
	if err == nil && hook != nil {
		if err = hook("after "+op, path); err != nil {
			err = pathError(op, path, err)
		}
	}
	return err
}
