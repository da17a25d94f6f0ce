package servers

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestSweep: of the directories of other processes those are removed that nobody holds,
// unless they are so new that their process may not have come to it.
func TestSweep(t *testing.T) {
	parent := t.TempDir()
	dirs := map[string]bool{"held": true, "new": true, "left": false}
	for name := range dirs {
		dir := filepath.Join(parent, rootPrefix+name)
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if name == "held" {
			if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}
		if old := time.Now().Add(-time.Hour); name != "new" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweep(parent)
	for name, want := range dirs {
		_, err := os.Stat(filepath.Join(parent, rootPrefix+name))
		if there := err == nil; there != want {
			t.Errorf("%s is there: %v (%v)", name, there, err)
		}
	}
}
