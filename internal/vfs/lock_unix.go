//go:build unix && !solaris && !aix

package vfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// osLock is held on a directory and on a file in it. The one on the directory is the
// better one, for the file can be removed and made again; but not every file system
// can lock directories (NFS cannot), and the file says who holds it.
type osLock struct {
	path   string
	root   *os.Root // the directory
	dir    *os.File // the same
	file   *os.File
	onFile bool // the directory could not be locked
}

func lockFile(path string) (_ Lock, err error) {
	l := &osLock{path: path}
	defer func() {
		if err != nil {
			_ = l.Close()
		}
	}()
	if l.root, err = os.OpenRoot(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if l.dir, err = l.root.Open("."); err != nil {
		return nil, err
	}
	switch err := flock(l.dir); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, &LockedError{Path: path, PID: l.holder()}
	case errors.Is(err, syscall.EBADF), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOLCK),
		errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EOPNOTSUPP):
		l.onFile = true
	case err != nil:
		return nil, err
	}
	if l.file, err = l.root.OpenFile(filepath.Base(path), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := flock(l.file); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &LockedError{Path: path, PID: l.holder()}
	} else if err != nil {
		return nil, err
	}
	// The id informs people, the flock protects: nothing needs to be synced.
	if err := l.file.Truncate(0); err != nil {
		return nil, err
	}
	if _, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, err
	}
	return l, nil
}

func flock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}

// holder returns the process that holds the lock, or 0. Who has just taken it may not
// have written its id yet: then there is none, or that of a process which is no more.
func (l *osLock) holder() (pid int) {
	for range 20 {
		text, _ := l.root.ReadFile(filepath.Base(l.path))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text))) // what is no number is 0
		if pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return max(pid, 0)
}

// Close implements [Lock].
func (l *osLock) Close() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.dir != nil {
		errs = append(errs, l.dir.Close())
	}
	if l.root != nil {
		errs = append(errs, l.root.Close())
	}
	return errors.Join(errs...)
}

// Inside implements [Lock].
func (l *osLock) Inside() FS { return osDir{l.root, l.dir} }

// Held implements [Lock].
func (l *osLock) Held() error {
	if !l.onFile {
		return nil // a directory's lock goes with the directory, not with a name
	}
	same, err := osFile{l.file}.NamedBy(l.path)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is not the file that this process has locked", l.path)
	}
	return nil
}

// osDir is one directory, whatever its name.
type osDir struct {
	root *os.Root
	dir  *os.File
}

var _ FS = osDir{}

func (d osDir) open(path string, flag int) (File, error) {
	f, err := d.root.OpenFile(filepath.Base(path), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// MkdirAll implements [FS]. The directory is there.
func (osDir) MkdirAll(string) error { return nil }

// Create implements [FS].
func (d osDir) Create(path string) (File, error) {
	return d.open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements [FS].
func (d osDir) Open(path string) (File, error) { return d.open(path, os.O_RDONLY) }

// OpenWrite implements [FS].
func (d osDir) OpenWrite(path string) (File, error) { return d.open(path, os.O_RDWR) }

// ReadDir implements [FS].
func (d osDir) ReadDir(string) ([]string, error) {
	f, err := d.root.Open(".") // a directory that is open is read once
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	return sortedNames(entries), nil
}

// Remove implements [FS].
func (d osDir) Remove(path string) error { return d.root.Remove(filepath.Base(path)) }

// Rename implements [FS].
func (d osDir) Rename(from, to string) error {
	return d.root.Rename(filepath.Base(from), filepath.Base(to))
}

// Truncate implements [FS].
func (d osDir) Truncate(path string, size int64) error {
	f, err := d.root.OpenFile(filepath.Base(path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// SyncDir implements [FS]. It needs no file descriptor but the one that there is.
func (d osDir) SyncDir(string) error { return d.dir.Sync() }

// Lock implements [FS]. The directory is locked.
func (osDir) Lock(path string) (Lock, error) { return nil, &LockedError{Path: path, PID: os.Getpid()} }
