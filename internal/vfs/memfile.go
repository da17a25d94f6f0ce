package vfs

import (
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

type memFile struct {
	m        *Mem
	node     *node
	path     string
	writable bool
	closed   bool
}

func (f *memFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.step("read", func() error {
		if off < int64(len(f.node.data)) {
			n = copy(b, f.node.data[off:])
		}
		return nil
	})
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (f *memFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.step("write", func() error {
		if !f.writable {
			return pathError("write", f.path, fs.ErrPermission)
		}
		length, fault := f.m.writeFault(len(b))
		if room := int64(len(f.node.data)) - off; fault == nil && int64(length) > room {
			if fault = f.m.take(int64(length) - room); fault != nil {
				length = int(max(0, room))
			}
		}
		f.m.counts.Writes++
		f.m.counts.Bytes += int64(length)
		f.write(b[:length], off)
		n = length
		if fault != nil {
			return pathError("write", f.path, fault)
		}
		return nil
	})
	return n, err
}

// write splits at sectors: those are what a crash tells apart.
func (f *memFile) write(b []byte, off int64) {
	for len(b) > 0 {
		n := min(int64(len(b)), sector-off%sector)
		f.m.apply(change{kind: changeWrite, node: f.node, off: off, data: slices.Clone(b[:n])})
		b, off = b[n:], off+n
	}
}

func (f *memFile) Sync() error {
	return f.step("sync", func() error {
		return f.m.sync(f.path, func(c change) bool {
			return c.node == f.node && c.kind < changeCreate
		})
	})
}

func (f *memFile) Size() (size int64, err error) {
	err = f.step("size", func() error {
		size = int64(len(f.node.data))
		return nil
	})
	return size, err
}

// NamedBy fails like no other call and is no step: it changes nothing.
func (f *memFile) NamedBy(path string) (bool, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.m.names[filepath.Clean(path)] == f.node, nil
}

func (f *memFile) Identity() (Identity, error) { return f.node.id, nil }

func (f *memFile) Preallocate(size int64) error {
	err := f.step("preallocate", func() error {
		if size <= int64(len(f.node.data)) {
			return nil
		}
		if err := f.m.take(size - int64(len(f.node.data))); err != nil {
			return pathError("preallocate", f.path, err)
		}
		f.m.apply(change{kind: changeSize, node: f.node, off: size})
		return nil
	})
	if err != nil {
		return err
	}
	return f.Sync()
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathError("close", f.path, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *memFile) step(op string, do func() error) error {
	return f.m.step(op, f.path, func() error {
		if f.closed {
			return pathError(op, f.path, fs.ErrClosed)
		}
		return do()
	})
}

// apply does c in the view of processes and remembers it as unsynced.
func (m *Mem) apply(c change) {
	c.node.data = c.on(c.node.data, len(c.data))
	m.pending = append(m.pending, c)
}

// on returns a file's data after the change, of which only the first keep bytes
// arrived.
func (c change) on(data []byte, keep int) []byte {
	end := c.off
	if c.kind == changeWrite {
		end += int64(keep)
	}
	if grow := end - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	if c.kind == changeSize {
		return data[:c.off:c.off]
	}
	copy(data[c.off:], c.data[:keep])
	return data
}

// onNames does a change of names.
func (c change) onNames(names map[string]*node) {
	if c.from != "" && names[c.from] == c.node {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}
