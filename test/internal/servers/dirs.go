package servers

import (
	"flag"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// owner is the account to run as; none if the test itself is not root.
func (k *kind) owner() (uid, gid uint32, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{k.account, "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		un, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gn, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && un != 0 {
			return uint32(un), uint32(gn), true
		}
	}
	return 0, 0, false
}

// tempDir makes a directory that the server's account owns. t.TempDir lies below
// a directory that only its maker may enter.
func (k *kind) tempDir() (string, error) {
	parent, err := root()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, k.debian+"-")
	if err != nil {
		return "", err
	}
	if uid, gid, ok := k.owner(); ok {
		err = os.Chown(dir, int(uid), int(gid))
	}
	return dir, err
}

// root returns the directory of this process, in which all others are. It is locked as
// long as the process lives. Main removes it; those of processes that did not come to that
// are removed by the next one.
var root = sync.OnceValues(func() (string, error) {
	parent := parentDir()
	sweep(parent)
	dir, err := os.MkdirTemp(parent, rootPrefix)
	if err != nil {
		return "", err
	}
	if lock, err = os.Open(dir); err != nil {
		return "", err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
})

const rootPrefix = "dtc-servers-"

var lock *os.File // of root

func removeRoot() {
	if lock != nil {
		os.RemoveAll(lock.Name())
	}
}

// sweep removes what dead processes have left. One that has only just begun may not have
// locked its directory yet.
func sweep(parent string) {
	all, _ := filepath.Glob(filepath.Join(parent, rootPrefix+"*"))
	for _, dir := range all {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			continue // another account's
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		f.Close()
	}
}

// Data lies in memory where there is room: else most of what a test costs is to make
// thousands of files, and to sync them. A server that is killed loses nothing that it has
// written, on whatever file system. Benchmarks measure the disk too, so they get it.
const (
	memory     = "/dev/shm"
	memoryFree = 4 << 30 // bytes
	tmpfs      = 0x01021994
)

func parentDir() string {
	bench := flag.Lookup("test.bench")
	if bench != nil && bench.Value.String() != "" || os.Getenv("TMPDIR") != "" {
		return os.TempDir()
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || fs.Type != tmpfs || int64(fs.Bavail)*fs.Bsize < memoryFree {
		return os.TempDir()
	}
	return memory
}

// copyTree copies a directory of plain files with modes, owned by the account.
func (k *kind) copyTree(from, to string) error {
	uid, gid, own := k.owner()
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			err = os.Mkdir(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			err = copyFile(path, target, info.Mode().Perm())
		default:
			return nil // sockets
		}
		if err == nil && own {
			err = os.Chown(target, int(uid), int(gid))
		}
		return err
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := out.ReadFrom(in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
