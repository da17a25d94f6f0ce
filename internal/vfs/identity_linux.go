//go:build linux && (amd64 || arm64)

package vfs

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// statx is what the system call of that name fills in, as far as it is needed:
// linux/stat.h. The standard library has no wrapper for it, and stat tells
// nothing that a copy would not have too: ext4 likes to give the inode of a
// removed file to the next one.
type statx struct {
	mask  uint32
	_     [7]uint32
	inode uint64
	_     [5]uint64
	birth struct {
		sec  int64
		nsec uint32
		_    int32
	}
	_ [160]byte
}

const (
	atEmptyPath = 0x1000
	statxInode  = 0x100
	statxBirth  = 0x800
)

func identify(f *os.File) (Identity, error) {
	var s statx
	var empty [1]byte
	_, _, errno := syscall.Syscall6(sysStatx, f.Fd(), uintptr(unsafe.Pointer(&empty)), atEmptyPath,
		statxInode|statxBirth, uintptr(unsafe.Pointer(&s)), 0)
	runtime.KeepAlive(f)
	if errno != 0 {
		if errors.Is(errno, syscall.ENOSYS) {
			return Identity{}, nil // a kernel before 4.11, or a sandbox that forbids it
		}
		return Identity{}, &os.PathError{Op: "statx", Path: f.Name(), Err: errno}
	}
	var id Identity
	if s.mask&statxInode != 0 {
		id.Inode = s.inode
	}
	if s.mask&statxBirth != 0 {
		id.Birth = s.birth.sec*1e9 + int64(s.birth.nsec)
	}
	return id, nil
}
