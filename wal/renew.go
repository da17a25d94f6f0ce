package wal

import (
	"errors"
	"path/filepath"

	"github.com/dtc-project/dtc/internal/vfs"
)

// renew gives a checkpoint its name anew, unless the newest segment vouches for it: that
// one was made when the name was durable. Otherwise the sync of the name may have failed in
// a process that was killed then, and later syncs that succeed prove nothing: the name would
// go in a power loss, and what it stands for may be gone already. Where there is no room for
// the copy the log does without: to refuse it would be certain harm.
func (l *Log) renew(found *contents) error {
	c := found.ckp
	if c == nil || found.last().begin == c.end {
		return nil
	}
	tmp := filepath.Join(l.dir, temporaryCkp)
	err := l.copyCheckpoint(c, tmp)
	if err == nil {
		err = l.names.publish(tmp, c.path)
	}
	if full(err) {
		return remove(l.fs, tmp)
	}
	return err
}

// copyCheckpoint copies a checkpoint, all of which is checked once more, and makes the
// copy's bytes durable.
func (l *Log) copyCheckpoint(c *checkpointFile, to string) error {
	head, err := readHead(l.fs, c.path)
	if err == nil {
		_, err = parseCheckpointHeader(head, c.path, c.number)
	}
	if err != nil {
		return err
	}
	f, err := l.fs.Create(to)
	if err != nil {
		return err
	}
	at := int64(0)
	write := func(b []byte) error {
		err := writeAll(f, b, at)
		at += int64(len(b))
		return err
	}
	err = write(head)
	if err == nil {
		err = c.batches(l.fs, func(_ batchHeader, _, whole []byte) error { return write(whole) })
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func readHead(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, checkpointHeaderSize)
	_, err = f.ReadAt(b, 0)
	return b, err
}
