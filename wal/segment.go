package wal

import (
	"fmt"
	"path/filepath"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/vfs"
)

// createSegment makes a segment with a header and the batches it is born with,
// all durable when it returns. Until the rename nothing has changed; from then on
// the segment is complete. The file is that of the given path, which holds
// nothing of value and has the size that the header says; or a new one if the
// path is empty.
func createSegment(fsys vfs.FS, n *names, h *segmentHeader, batches []byte, free spare) (vfs.File, error) {
	tmp := filepath.Join(n.dir, numbered(h.number, temporarySuffix))
	f, err := roomFor(fsys, tmp, h.size, free)
	if err != nil {
		return nil, err
	}
	err = func() (err error) {
		if h.file, err = f.Identity(); err != nil {
			return err
		}
		content := append(h.append(make([]byte, 0, segmentHeaderSize+len(batches))), batches...)
		if err := writeAll(f, content, 0); err != nil {
			return err
		}
		failpoint.Hit(failpoint.WALRotateWritten)
		if err := f.Sync(); err != nil {
			return err
		}
		failpoint.Hit(failpoint.WALRotateSynced)
		return n.publish(tmp, filepath.Join(n.dir, segmentName(h.number)))
	}()
	if err != nil {
		_ = f.Close()
		_ = fsys.Remove(tmp) // if this fails too, the next Open does it
		return nil, err
	}
	return f, nil
}

// roomFor returns the file at path, which has the room of size bytes.
func roomFor(fsys vfs.FS, path string, size int64, free spare) (vfs.File, error) {
	if free.path == "" {
		return preallocate(fsys, path, size)
	}
	if err := fsys.Rename(free.path, path); err != nil {
		free.close()
		return nil, err
	}
	failpoint.Hit(failpoint.WALRotateReused)
	return free.file, nil
}

// preallocate makes a new file with the room of size bytes.
func preallocate(fsys vfs.FS, path string, size int64) (vfs.File, error) {
	// A remainder of an earlier attempt is not used: its sync may have failed.
	if err := remove(fsys, path); err != nil {
		return nil, err
	}
	f, err := fsys.Create(path)
	if err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.WALRotateCreated)
	if err := f.Preallocate(size); err != nil {
		_ = f.Close()
		_ = fsys.Remove(path) // if this fails too, the next Open does it
		return nil, err
	}
	failpoint.Hit(failpoint.WALRotatePreallocated)
	return f, nil
}

// writeAll treats a short write without an error as the failure that it is.
func writeAll(f vfs.File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n != len(b) {
		err = fmt.Errorf("wrote %d of %d bytes", n, len(b))
	}
	return err
}
