package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/dtc-project/dtc/wal"
)

// data looks at a data directory. The error is that of a damaged log, whose exit code
// says so, or of the command line.
func (e *examination) data(dir string) error {
	r, place, err := openLog(dir)
	if err != nil {
		var corrupt *wal.CorruptError
		if errors.As(err, &corrupt) {
			return advice(err)
		}
		e.add(levelBad, "log", "", "%v", err)
		return nil
	}
	s, err := count(r)
	if err != nil {
		return advice(err)
	}
	e.add(levelOK, "log", "", "%s in %s reads well: %d segments, %d bytes, %d unfinished, %d outcomes remembered",
		s.Log, place, s.Segments, s.Bytes, s.Unfinished, s.Remembered)
	switch {
	case s.Held:
		e.add(levelBad, "log", "compare the participants with the log, then 'dtc log release'",
			"a recovery hold covers the incarnations up to %d: %s", s.HoldThrough, s.HoldReason)
	case s.Copied:
		e.add(levelWarn, "log", "if another copy was used meanwhile this one lacks decisions; the next start begins a recovery hold",
			"these files are copies of the ones that were written")
	}
	if s.Oldest != nil && time.Since(*s.Oldest) > doctorInDoubt {
		e.add(levelWarn, "log", "a server over this directory finishes them; 'dtc log explain TXID' says how far one is",
			"%d are not finished, the oldest was begun %s ago", s.Unfinished, txDuration(time.Since(*s.Oldest)))
	}
	e.permissions(place)
	e.disk(place)
	return nil
}

func (e *examination) permissions(dir string) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrPermission), err != nil:
		e.add(levelBad, "disk", "", "%v", err)
	case info.Mode().Perm()&0o022 != 0:
		e.add(levelBad, "disk", fmt.Sprintf("chmod go-w %s", dir), "others than its owner may write to %s (%v)", dir, info.Mode().Perm())
	}
}

// leastFree is how much room a log should have, in bytes: a few segments, and the
// checkpoint beside them.
const leastFree = 1 << 30

func (e *examination) disk(dir string) {
	free, kind, err := fileSystem(dir)
	if err != nil {
		return // nothing is known of it here
	}
	level, advice := levelOK, ""
	if free < leastFree {
		level, advice = levelWarn, "make room: when the disk is full new transactions are refused"
	}
	e.add(level, "disk", advice, "%d MB are free for %s", free>>20, dir)
	switch kind {
	case "tmpfs":
		e.add(levelBad, "disk", "move the log to a disk", "%s is on tmpfs: nothing in it survives the machine", dir)
	case "nfs", "cifs", "fuse":
		e.add(levelWarn, "disk", "prefer a local disk, or make sure that a sync there is durable and a lock excludes others",
			"%s is on %s, where a sync or a lock may not be what it seems", dir, kind)
	}
}
