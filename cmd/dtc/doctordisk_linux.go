package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// fileSystems are the magic numbers of statfs(2) for those where a log is not as safe
// as on a local disk.
var fileSystems = map[uint32]string{
	0x01021994: "tmpfs",
	0x858458f6: "ramfs",
	0x794c7630: "overlay",
	0x00006969: "nfs",
	0xff534d42: "cifs",
	0xfe534d42: "cifs",
	0x0000517b: "smb",
	0x65735546: "fuse",
	0x01021997: "9p",
	0x00c36400: "ceph",
	0x786f4256: "vboxsf",
}

// fileSystem returns how many bytes are free for this user where a directory is, and
// what kind of file system that is, if the log cares.
func fileSystem(dir string) (free uint64, kind string, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, "", err
	}
	kind = fileSystems[uint32(s.Type)]           //nolint:gosec // a magic number has 32 bits
	return s.Bavail * uint64(s.Bsize), kind, nil //nolint:gosec // the size of a block is positive
}

func ownerOf(info fs.FileInfo) (uid uint32, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Uid, true
}

// logHolder reports whether a process has a log open for writing, and which; the id is
// 0 if it cannot be told. It looks at the kernel's list: to try the lock would be to hold
// it for a moment, and a server that starts in that moment would not.
func logHolder(dir string) (pid int, used bool) {
	path := filepath.Join(dir, "LOCK")
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	said, _ := os.ReadFile(path)
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, false
	}
	return lockHolder(string(list), s.Dev, s.Ino, strings.TrimSpace(string(said)))
}

// lockHolder finds a lock in a text such as /proc/locks. A device that differs, as it may
// on an overlay, is the same if the process is the one that the LOCK file names.
func lockHolder(list string, dev, ino uint64, said string) (pid int, used bool) {
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&0xffffff00
	device := fmt.Sprintf("%02x:%02x", major, minor)
	for line := range strings.Lines(list) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 123 fe:00:456 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		on, number, _ := cutLast(f[5], ":")
		if number == strconv.FormatUint(ino, 10) && (on == device || f[4] == said) {
			pid, _ = strconv.Atoi(f[4])
			return max(pid, 0), true
		}
	}
	return 0, false
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
