package vfs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Mem is a file system in memory that can lose power. It keeps what is durable
// apart from what was only written: the files as they were at their last Sync,
// the names as they were at their directory's last SyncDir, and the ordered list
// of everything done since. [Mem.Crash] and [Mem.Kill] make the file system that
// the next process finds.
//
// A Mem may be used concurrently. Directories are durable when they are made.
type Mem struct {
	mu      sync.Mutex
	dirs    map[string]bool
	names   map[string]*node // as processes see them
	disk    map[string]*node // as they are after a power loss
	pending []change         // since then, in order
	locks   map[string]int
	hook    func(op, path string) error
	faults  faults
	counts  Counts
}

// node is a file, whatever its names.
type node struct {
	data []byte // as processes see it
	disk []byte // as it is after a power loss, but for the pending changes
	id   Identity
}

var inodes atomic.Uint64

func newNode(data []byte) *node {
	n := inodes.Add(1)
	return &node{data: data, disk: slices.Clone(data), id: Identity{Inode: n, Birth: int64(n)}}
}

// change is one unsynced step, which a crash keeps, drops or tears.
type change struct {
	kind     changeKind
	node     *node
	off      int64  // write; truncate: the new size
	data     []byte // write: never crosses a sector
	from, to string // names
}

type changeKind uint8

const (
	changeWrite changeKind = iota
	changeSize
	changeCreate // to
	changeRemove // from
	changeRename // from, to
)

// sector is what a disk writes at once, as far as it writes anything at once.
const sector = 512

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{
		dirs:  map[string]bool{"/": true, ".": true},
		names: map[string]*node{},
		disk:  map[string]*node{},
		locks: map[string]int{},
	}
}

var _ FS = (*Mem)(nil)

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(dir string) error {
	return m.step("mkdir", dir, func() error {
		for d := filepath.Clean(dir); !m.dirs[d]; d = filepath.Dir(d) {
			m.dirs[d] = true
		}
		return nil
	})
}

// Create implements [FS].
func (m *Mem) Create(path string) (File, error) {
	path = filepath.Clean(path)
	n := newNode(nil)
	err := m.step("create", path, func() error {
		if m.names[path] != nil {
			return pathError("create", path, fs.ErrExist)
		}
		if !m.dirs[filepath.Dir(path)] {
			return pathError("create", path, fs.ErrNotExist)
		}
		m.names[path] = n
		m.pending = append(m.pending, change{kind: changeCreate, node: n, to: path})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &memFile{m: m, node: n, path: path, writable: true}, nil
}

// Open implements [FS].
func (m *Mem) Open(path string) (File, error) { return m.open(path, false) }

// OpenWrite implements [FS].
func (m *Mem) OpenWrite(path string) (File, error) { return m.open(path, true) }

func (m *Mem) open(path string, writable bool) (File, error) {
	path = filepath.Clean(path)
	var n *node
	err := m.step("open", path, func() error {
		if n = m.names[path]; n == nil {
			return pathError("open", path, fs.ErrNotExist)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &memFile{m: m, node: n, path: path, writable: writable}, nil
}

// ReadDir implements [FS].
func (m *Mem) ReadDir(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	var names []string
	err := m.step("readdir", dir, func() error {
		if !m.dirs[dir] {
			return pathError("readdir", dir, fs.ErrNotExist)
		}
		for path := range m.names {
			if filepath.Dir(path) == dir {
				names = append(names, filepath.Base(path))
			}
		}
		slices.SortFunc(names, strings.Compare)
		return nil
	})
	return names, err
}

// Remove implements [FS].
func (m *Mem) Remove(path string) error {
	path = filepath.Clean(path)
	return m.step("remove", path, func() error {
		n := m.names[path]
		if n == nil {
			return pathError("remove", path, fs.ErrNotExist)
		}
		delete(m.names, path)
		m.pending = append(m.pending, change{kind: changeRemove, node: n, from: path})
		_ = m.take(-int64(len(n.data)))
		return nil
	})
}

// Rename implements [FS]. A crash keeps all of it or nothing.
func (m *Mem) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	return m.step("rename", to, func() error {
		n := m.names[from]
		if n == nil {
			return pathError("rename", from, fs.ErrNotExist)
		}
		delete(m.names, from)
		if old := m.names[to]; old != nil {
			_ = m.take(-int64(len(old.data)))
		}
		m.names[to] = n
		m.pending = append(m.pending, change{kind: changeRename, node: n, from: from, to: to})
		return nil
	})
}

// Truncate implements [FS].
func (m *Mem) Truncate(path string, size int64) error {
	path = filepath.Clean(path)
	return m.step("truncate", path, func() error {
		n := m.names[path]
		if n == nil {
			return pathError("truncate", path, fs.ErrNotExist)
		}
		if err := m.take(size - int64(len(n.data))); err != nil {
			return pathError("truncate", path, err)
		}
		m.apply(change{kind: changeSize, node: n, off: size})
		return nil
	})
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	return m.step("syncdir", dir, func() error {
		return m.sync(dir, func(c change) bool {
			return c.kind >= changeCreate && (filepath.Dir(c.from) == dir || filepath.Dir(c.to) == dir)
		})
	})
}

// Lock implements [FS].
func (m *Mem) Lock(path string) (Lock, error) {
	path = filepath.Clean(path)
	err := m.step("lock", path, func() error {
		if pid := m.locks[path]; pid != 0 {
			return &LockedError{Path: path, PID: pid}
		}
		if !m.dirs[filepath.Dir(path)] {
			return pathError("lock", path, fs.ErrNotExist)
		}
		m.locks[path] = os.Getpid()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &memLock{m, path}, nil
}

type memLock struct {
	m    *Mem
	path string
}

// Inside implements [Lock]. Directories are not renamed here.
func (l *memLock) Inside() FS { return l.m }

// Held implements [Lock].
func (l *memLock) Held() error { return nil }

// Close implements [Lock].
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.path)
	return nil
}

// ReadFile returns what a process sees in a file, or nil if there is none.
func (m *Mem) ReadFile(path string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[filepath.Clean(path)]; n != nil {
		return slices.Clone(n.data)
	}
	return nil
}

// WriteFile puts a file in place, durable at once: the way tests damage things.
func (m *Mem) WriteFile(path string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path = filepath.Clean(path)
	n := newNode(slices.Clone(data))
	if old := m.names[path]; old != nil {
		n.id = old.id // the file is changed, not another one
	}
	m.names[path], m.disk[path] = n, n
}

// CopyFiles returns the file system with every file replaced by a copy, durable:
// the same names and bytes, other files.
func (m *Mem) CopyFiles() *Mem {
	after := m.Kill()
	for _, path := range after.Files() {
		data := after.ReadFile(path)
		after.RemoveFile(path)
		after.WriteFile(path, data)
	}
	return after
}

// RemoveFile removes a file, durable at once.
func (m *Mem) RemoveFile(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path = filepath.Clean(path)
	delete(m.names, path)
	delete(m.disk, path)
}

// Files returns the paths of all files, sorted.
func (m *Mem) Files() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}
