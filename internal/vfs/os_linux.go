package vfs

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// datasync leaves out what Sync would write beyond need: the times of the file.
func datasync(f *os.File) error {
	err := ignoringEINTR(func() error { return syscall.Fdatasync(int(f.Fd())) })
	runtime.KeepAlive(f)
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// allocate reports whether the file now has its size; false without an error
// means that this file system cannot do it.
func allocate(f *os.File, size int64) (bool, error) {
	err := ignoringEINTR(func() error { return syscall.Fallocate(int(f.Fd()), 0, 0, size) })
	runtime.KeepAlive(f)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS):
		return false, nil
	default:
		return false, &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
