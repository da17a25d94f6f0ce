package wal_test

import (
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// lost returns the disk as it is after a power loss that took all that could be taken.
func lost(fs *vfs.Mem) *vfs.Mem { return fs.CrashWith(func(int, int) int { return 0 }) }

// TestFailedSyncThenKilled: a process in which one sync fails, of a file or of the names, is
// killed. The next one still sees all names and bytes, and its own syncs succeed whether or
// not these are durable. What it tells durable must be.
func TestFailedSyncThenKilled(t *testing.T) {
	failures := int64(0)
	for k, more := 1, true; more; k++ {
		fs := vfs.NewMem()
		l := mustOpen(t, fs)
		must(t, l.Force(record(0)))
		const before = 120 // much that nobody has synced: it is taken over
		for i := 1; i < before; i++ {
			must(t, l.Append(record(i)))
		}
		wal.WaitWritten(l, before)
		fs = fs.Kill()
		closed(t, l)

		fs.FailSync(k)
		forced := 0
		if l, err := open(fs); err == nil {
			for i := range 40 {
				if l.Force(record(before+i)) != nil {
					break
				}
				forced = before + i + 1
			}
			more = fs.Syncs() >= k
			fs, _ = fs.Kill(), l.Close()
		} else {
			fs = fs.Kill()
		}

		l, n := recovered(t, fs)
		if n < forced {
			t.Fatalf("sync %d: the next process finds %d records, want %d", k, n, forced)
		}
		for i := range 3 {
			must(t, l.Force(record(n+i)))
		}
		after := lost(fs)
		closed(t, l)
		l, err := open(after)
		if err != nil {
			t.Errorf("sync %d: after a power loss: %v", k, err)
			continue
		}
		if got, err := replayed(l); err != nil || got < n+3 {
			t.Errorf("sync %d: %d records survive a power loss, want %d (%v)", k, got, n+3, err)
		}
		closed(t, l)
		failures++
	}
	tally.Add(t, "crash images", "syncs that failed in a process that was then killed", failures, 10)
}

// TestFailedSyncOfCheckpointThenKilled is the same with checkpoints, which also have names.
func TestFailedSyncOfCheckpointThenKilled(t *testing.T) {
	failures := int64(0)
	for k, more := 1, true; more; k++ {
		mem := vfs.NewMem()
		l, tt := told(t, keeping(mem), 0)
		before := mem.Syncs()
		mem.FailSync(k)
		_ = tt.until(l, func() bool { return l.Checkpoints().Made > 2 })
		more = mem.Syncs()-before >= k
		killed := mem.Kill()
		_ = l.Close()
		l, n, err := tt.check(killed)
		if err != nil {
			t.Errorf("sync %d: the next process: %v", k, err)
			continue
		}
		tt.rewind(n)
		made := l.Checkpoints().Made
		must(t, tt.until(l, func() bool { return len(tt.all) > n+k%7 || l.Checkpoints().Made > made }))
		after := lost(killed)
		closed(t, l)
		if l, _, err = tt.check(after); err != nil {
			t.Errorf("sync %d: after a power loss: %v", k, err)
			continue
		}
		closed(t, l)
		failures++
	}
	tally.Add(t, "crash images", "syncs that failed in a process that was then killed", failures, 30)
}

func closed(t *testing.T, l *wal.Log) {
	t.Helper()
	must(t, l.Close())
}
