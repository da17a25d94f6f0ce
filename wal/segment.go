package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/dtc-project/dtc/internal/vfs"
)

// createSegment makes a segment with a header and the batches it is born with,
// all durable when it returns. Until the rename nothing has changed; from then on
// the segment is complete.
func createSegment(fsys vfs.FS, dir string, h *segmentHeader, batches []byte) (vfs.File, error) {
	content := append(h.append(make([]byte, 0, segmentHeaderSize+len(batches))), batches...)
	tmp := filepath.Join(dir, fmt.Sprintf("%08d.tmp", h.number))
	f, err := createWith(fsys, tmp, content, h.size)
	if err != nil {
		return nil, err
	}
	err = fsys.Rename(tmp, filepath.Join(dir, segmentName(h.number)))
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// createWith makes a durable file with the content, preallocated to size if that
// is not zero. Its name is durable with the next SyncDir.
func createWith(fsys vfs.FS, path string, content []byte, size int64) (vfs.File, error) {
	// A remainder of an earlier attempt is not used: its sync may have failed.
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsys.Create(path)
	if err != nil {
		return nil, err
	}
	if err := fill(f, content, size); err != nil {
		_ = f.Close()
		_ = fsys.Remove(path) // if this fails too, the next Open does it
		return nil, err
	}
	return f, nil
}

func fill(f vfs.File, content []byte, size int64) error {
	if size > 0 {
		if err := f.Preallocate(size); err != nil {
			return err
		}
	}
	if err := writeAll(f, content, 0); err != nil {
		return err
	}
	return f.Sync()
}

// writeAll treats a short write without an error as the failure that it is.
func writeAll(f vfs.File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n != len(b) {
		err = fmt.Errorf("wrote %d of %d bytes", n, len(b))
	}
	return err
}
