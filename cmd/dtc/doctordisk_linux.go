package main

import "syscall"

// fileSystem returns how many bytes are free for this user where a directory is, and
// what kind of file system that is, if the log cares.
func fileSystem(dir string) (free uint64, kind string, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, "", err
	}
	switch uint32(s.Type) { //nolint:gosec // a magic number has 32 bits
	case 0x01021994:
		kind = "tmpfs"
	case 0x6969:
		kind = "nfs"
	case 0xff534d42, 0xfe534d42:
		kind = "cifs"
	case 0x65735546:
		kind = "fuse"
	}
	return s.Bavail * uint64(s.Bsize), kind, nil //nolint:gosec // the size of a block is positive
}
