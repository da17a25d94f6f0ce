package wal_test

import (
	"testing"

	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

func TestConformance(t *testing.T) {
	for name, size := range map[string]int64{"Default": 0, "SmallSegments": 4096} {
		t.Run(name, func(t *testing.T) {
			dtctest.TestLog(t, func(t *testing.T) func() (txlog.Log, error) {
				dir := t.TempDir()
				return func() (txlog.Log, error) { return wal.Open(dir, &wal.Options{SegmentSize: size}) }
			})
		})
	}
	t.Run("Memory", func(t *testing.T) {
		dtctest.TestLog(t, func(t *testing.T) func() (txlog.Log, error) {
			fs := vfs.NewMem()
			return func() (txlog.Log, error) { return wal.Open("/log", &wal.Options{SegmentSize: 4096, FS: fs}) }
		})
	})
}
