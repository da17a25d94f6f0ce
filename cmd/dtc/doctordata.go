package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// data looks at a data directory. The error is that of a damaged log, whose exit code
// says so, with what to do about it; it is among the findings too.
func (e *examination) data(dir string) error {
	r, place, err := openLog(dir)
	var corrupt *wal.CorruptError
	switch {
	case errors.As(err, &corrupt):
		e.damaged(err)
		e.disk(place)
		return advice(err)
	case err != nil:
		e.add(levelBad, "log", "", "%v", err)
		return nil
	}
	pid, used := logHolder(place)
	damage := e.log(r, place, used)
	switch {
	case used && pid > 0:
		e.add(levelOK, "log", "", "process %d is using it", pid)
	case used:
		e.add(levelOK, "log", "", "a process is using it")
	}
	e.permissions(place)
	e.disk(place)
	return damage
}

func (e *examination) damaged(err error) {
	e.add(levelBad, "log", "leave the files as they are, copy them, and restore them from a backup: 'dtc log verify' says more", "%v", err)
}

// log reads the log twice, as 'dtc log verify' does, and counts what it holds. It
// returns what is damaged.
func (e *examination) log(r *wal.Reader, place string, used bool) error {
	res, doubt := compare.Live(place, vfs.OS{})
	for _, damage := range []error{doubt, res.Refused, res.SecondRefused} {
		if damage != nil {
			e.damaged(damage)
			return advice(damage)
		}
	}
	s, err := count(r, place)
	if changed := (*wal.ChangedError)(nil); errors.As(err, &changed) {
		e.add(levelWarn, "log", "look again when less is written to it", "it reads well, and changes faster than it can be counted: %v", err)
		return nil
	}
	if err != nil {
		e.damaged(err)
		return advice(err)
	}
	e.add(levelOK, "log", "", "%s in %s reads well, by two decoders: %d segments, %d bytes, %d unfinished, %d outcomes remembered",
		s.Log, place, s.Segments, s.Bytes, s.Unfinished, s.Remembered)
	switch {
	case s.Held:
		e.add(levelBad, "log", "compare the participants with the log, stop the server, then 'dtc log release'",
			"a recovery hold covers the incarnations up to %d: %s", s.HoldThrough, plain(s.HoldReason))
	case s.Copied:
		e.add(levelWarn, "log", "if another copy was used meanwhile this one lacks decisions; the next start begins a recovery hold",
			"these files are copies of the ones that were written")
	}
	if s.Oldest != nil && time.Since(*s.Oldest) > doctorInDoubt {
		what := "start a server over this directory: it finishes them"
		if used {
			what = "'dtc tx list' of the server that uses it shows what each waits for"
		}
		e.add(levelWarn, "log", what+"; 'dtc log explain TXID' says how far one is",
			"%d are not finished, the oldest was begun %s ago", s.Unfinished, txDuration(time.Since(*s.Oldest)))
	}
	return nil
}

// permissions looks at who may write to the log, and whether its owner can.
func (e *examination) permissions(dir string) {
	info, err := os.Stat(dir)
	if err != nil {
		e.add(levelBad, "disk", "", "%v", err)
		return
	}
	if info.Mode().Perm()&0o022 != 0 {
		e.add(levelBad, "disk", "chmod go-w "+shellWord(dir), "others than its owner may write to %s (%v)", dir, info.Mode().Perm())
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		e.add(levelBad, "disk", "", "%v", err)
		return
	}
	owner, known := ownerOf(info)
	var open, foreign []string
	for _, n := range names {
		file, err := n.Info()
		if err != nil || !file.Mode().IsRegular() {
			continue // gone meanwhile, or not the log's
		}
		if file.Mode().Perm()&0o022 != 0 {
			open = append(open, file.Name())
		}
		if uid, ok := ownerOf(file); ok && known && uid != owner {
			foreign = append(foreign, file.Name())
		}
	}
	if len(open) > 0 {
		e.add(levelBad, "disk", "chmod go-w "+shellWord(dir)+"/*", "others than its owner may write to %d files in %s, such as %s", len(open), dir, open[0])
	}
	if len(foreign) > 0 {
		e.add(levelWarn, "disk", fmt.Sprintf("chown %d %s/*: a server that runs as the directory's owner cannot write to them", owner, shellWord(dir)),
			"%d files in %s do not belong to the directory's owner, such as %s", len(foreign), dir, filepath.Base(foreign[0]))
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
	e.fileSystem(kind, dir)
}

// fileSystem says what a kind of file system means for a log.
func (e *examination) fileSystem(kind, dir string) {
	switch kind {
	case "":
	case "tmpfs", "ramfs":
		e.add(levelBad, "disk", "move the log to a disk", "%s is on %s: nothing in it survives the machine", dir, kind)
	case "overlay":
		e.add(levelWarn, "disk", "mount a volume there", "%s is on an overlay, as containers have: it is gone with the container", dir)
	default:
		e.add(levelWarn, "disk", "prefer a local disk, or make sure that a sync there is durable and a lock excludes others",
			"%s is on %s, where a sync or a lock may not be what it seems", dir, kind)
	}
}
