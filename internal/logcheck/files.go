package logcheck

import (
	"io"
	"os"
	"path/filepath"
)

// FS is what the check needs of a file system.
type FS interface {
	// ReadDir returns the names in dir. The error for a directory that does not
	// exist is fs.ErrNotExist.
	ReadDir(dir string) ([]string, error)
	// Open opens a file for reading.
	Open(path string) (File, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// OS is the file system of the operating system.
var OS FS = osFS{}

type osFS struct{}

type osFile struct{ *os.File }

func (osFS) ReadDir(dir string) (names []string, err error) {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) Open(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Over makes an FS of a file system whose Open returns files of its own type.
func Over[F File](fs interface {
	ReadDir(dir string) ([]string, error)
	Open(path string) (F, error)
},
) FS {
	return over[F]{fs.ReadDir, fs.Open}
}

type over[F File] struct {
	readDir func(string) ([]string, error)
	open    func(string) (F, error)
}

func (o over[F]) ReadDir(dir string) ([]string, error) { return o.readDir(dir) }

func (o over[F]) Open(path string) (File, error) {
	f, err := o.open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// window reads a file through a buffer that never holds much more than a batch.
type window struct {
	path string
	file File
	size int64
	buf  []byte
	off  int64 // of buf in the file
}

const windowSize = 128 << 10

func openWindow(fs FS, path string) (*window, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &window{path: path, file: f, size: size}, nil
}

// at returns n bytes of the file, which must have them, until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		i := int(off - w.off)
		return w.buf[i : i+n : i+n], nil
	}
	want := int(min(max(int64(n), windowSize), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf = w.buf[:want]
	w.off = off
	if got, err := w.file.ReadAt(w.buf, off); got < n {
		w.buf = w.buf[:0]
		if err == nil || err == io.EOF { //nolint:errorlint // ReaderAt promises io.EOF itself
			err = io.ErrUnexpectedEOF // it has become shorter since it was opened
		}
		return nil, err
	} else if got < want {
		w.buf = w.buf[:got]
	}
	return w.buf[:n:n], nil
}

func (w *window) close() { _ = w.file.Close() } // only read

func join(dir, name string) string { return filepath.Join(dir, name) }
