package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// A log whose files are taken away says so before it says that anything more is durable.
func TestGone(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) },
		"renamed": func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+".old")) },
		"emptied": func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			must(t, os.Mkdir(dir, 0o700))
		},
		"its newest segment removed": func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "00000001.seg")))
		},
		"replaced by a copy": func(t *testing.T, dir string) {
			must(t, os.CopyFS(dir+".copy", os.DirFS(dir)))
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Rename(dir+".copy", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, idle := range []bool{false, true} {
				dir := filepath.Join(t.TempDir(), "log")
				l, err := wal.Open(dir, &wal.Options{SegmentSize: 16 << 10})
				must(t, err)
				must(t, l.Force(record(1)))
				take(t, dir)
				var gone *wal.GoneError
				if idle {
					select {
					case <-l.Failed():
					case <-time.After(20 * time.Second):
						t.Error("an idle log does not notice")
					}
				} else if err := l.Force(record(2)); !errors.Is(err, txlog.ErrUnknown) || !errors.As(err, &gone) {
					t.Errorf("force: %v", err)
				}
				if err := l.Err(); !errors.As(err, &gone) || gone.File != filepath.Join(dir, "00000001.seg") {
					t.Errorf("the log has failed with %v", err)
				}
				if err := l.Force(record(3)); !errors.Is(err, txlog.ErrRefused) {
					t.Errorf("and takes a record: %v", err)
				}
				if err := l.Close(); !errors.As(err, &gone) {
					t.Errorf("close: %v", err)
				}
			}
		})
	}
}

// Another directory that takes the name is another log's: nothing is written to it, also
// not in the moment before the first log has noticed.
func TestOtherDirectoryIsLeftAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	o := &wal.Options{SegmentSize: 4 << 10, CheckpointAfter: 1}
	l, err := wal.Open(dir, o)
	must(t, err)
	must(t, l.Replay(func(txlog.Entry) error { return nil }))
	must(t, os.Rename(dir, dir+".old"))
	other, err := wal.Open(dir, o)
	must(t, err)
	// Nobody waits for these, so nothing makes the log look before it needs segments.
	for i := range 2000 {
		if l.Append(record(5*i)) != nil {
			break
		}
	}
	must(t, other.Force(record(1)))
	must(t, other.Close())
	if err := l.Close(); !errors.As(err, new(*wal.GoneError)) {
		t.Errorf("close: %v", err)
	}
	r, err := wal.OpenReadOnly(dir, nil)
	must(t, err)
	if report, err := r.Verify(); err != nil || report.Records != 1 || !report.Clean || r.ID() == l.ID() {
		t.Errorf("the other log: %+v, %v", report, err)
	}
	r, err = wal.OpenReadOnly(dir+".old", nil)
	must(t, err)
	if _, err := r.Verify(); err != nil || r.ID() != l.ID() {
		t.Errorf("the first log, where it is now: %v", err)
	}
}

// Removing the file that names the owner lets nobody else in, and does not disturb the
// owner.
func TestLockFileRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l, err := wal.Open(dir, nil)
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, "LOCK")))
	if _, err := wal.Open(dir, nil); !errors.As(err, new(*wal.InUseError)) {
		t.Errorf("a second opening without the file: %v", err)
	}
	must(t, l.Force(record(1)))
	must(t, l.Close())
	l, err = wal.Open(dir, nil)
	must(t, err)
	must(t, l.Close())
}
