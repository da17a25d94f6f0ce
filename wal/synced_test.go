package wal_test

import (
	"sync"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// TestSyncedIsTold: every record that is durable was in exactly one group that the
// hook was told of, also those for which nobody waited and those before a rotation.
func TestSyncedIsTold(t *testing.T) {
	mem := vfs.NewMem()
	var mu sync.Mutex
	var groups []int
	l, err := wal.Open(dir, &wal.Options{SegmentSize: 4096, FS: mem, CheckpointAfter: -1, Synced: func(took time.Duration, records int) {
		mu.Lock()
		defer mu.Unlock()
		if took < 0 {
			t.Errorf("it took %v", took)
		}
		groups = append(groups, records)
	}})
	must(t, err)
	must(t, l.Append(record(0)))
	must(t, l.Append(record(1)))
	must(t, l.Force(record(2)))
	for i := 3; i < 100; i++ { // several segments
		must(t, l.Append(record(i)))
	}
	must(t, l.Force(record(100)))
	must(t, l.Close()) // syncs once more, and has nothing to tell
	sum := 0
	for _, n := range groups {
		if n <= 0 {
			t.Errorf("a group of %d", n)
		}
		sum += n
	}
	if st := l.Stats(); sum != 101 || st.Records != 101 || len(groups) < 2 {
		t.Errorf("groups %v of %d records", groups, st.Records)
	}
}

// TestSyncedIsNotToldOfFailures: what a sync that failed was about is not durable.
func TestSyncedIsNotToldOfFailures(t *testing.T) {
	mem := vfs.NewMem()
	told := 0
	l, err := wal.Open(dir, &wal.Options{SegmentSize: 4096, FS: mem, CheckpointAfter: -1, Synced: func(time.Duration, int) { told++ }})
	must(t, err)
	must(t, l.Force(record(0)))
	mem.FailSync(1)
	if err := l.Force(record(1)); err == nil {
		t.Fatal("the sync did not fail")
	}
	_ = l.Close()
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
