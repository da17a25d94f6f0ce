package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/vfs"
)

// names is the one place where the names in the log's directory change. The
// writer makes segments while checkpoints come and go beside it, and a sync of the
// directory is for all changes before it: if one fails, the next one proves
// nothing, whoever asks for it.
type names struct {
	fs  vfs.FS
	dir string
	// turn is a lock: the disk is called while it is held. Who waits for a channel, and
	// not for a mutex, can be told from who works: the simulator needs that.
	turn chan struct{}
	err  error // of the first sync that failed
}

// change calls fn, which changes names, and makes the changes durable.
func (n *names) change(fn func() error) error {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	if n.err != nil {
		return n.err
	}
	if err := fn(); err != nil {
		return err
	}
	if canary.On(canary.NamesUnsynced) {
		return nil
	}
	failpoint.Hit(failpoint.WALNamesChanged)
	if err := n.fs.SyncDir(n.dir); err != nil {
		n.err = &namesError{err}
	}
	failpoint.Hit(failpoint.WALNamesSynced)
	return n.err
}

// publish gives a complete and synced file its name.
func (n *names) publish(from, to string) error {
	return n.change(func() error { return n.fs.Rename(from, to) })
}

// namesError says that it is not known which names are durable: the log cannot go
// on.
type namesError struct{ err error }

func (e *namesError) Error() string { return fmt.Sprintf("sync the log's directory: %v", e.err) }
func (e *namesError) Unwrap() error { return e.err }

// remove removes a file that need not exist.
func remove(fsys vfs.FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

const (
	segmentSuffix    = ".seg"
	checkpointSuffix = ".ckp"
	freeSuffix       = ".free"
	temporarySuffix  = ".tmp"
	temporaryCkp     = "ckp.tmp"
	temporaryMark    = cleanName + temporarySuffix
)

// meaningless reports whether a name is one of ours under which nothing is kept.
func meaningless(name string) bool {
	if name == temporaryCkp || name == temporaryMark {
		return true
	}
	_, free := parseName(name, freeSuffix)
	_, temporary := parseName(name, temporarySuffix)
	return free || temporary
}

// removeMeaningless removes what an earlier process left half-made or in store. A
// file in store is not taken over: it is cheaper to make one than to know what
// became of its room.
func removeMeaningless(fsys vfs.FS, dir string) error {
	all, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range all {
		if !meaningless(name) {
			continue
		}
		if err := remove(fsys, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func segmentName(number uint32) string { return numbered(number, segmentSuffix) }

func checkpointName(number uint32) string { return numbered(number, checkpointSuffix) }

func numbered(number uint32, suffix string) string { return fmt.Sprintf("%08d%s", number, suffix) }

func parseName(name, suffix string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	var n uint64
	for _, c := range []byte(digits) {
		if n = n*10 + uint64(c-'0'); c < '0' || c > '9' || n > 1<<32-1 {
			return 0, false
		}
	}
	return uint32(n), n > 0 && numbered(uint32(n), suffix) == name
}
