package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often files are looked at, at most.
	lookEvery = time.Second
	// settled is how long ago a file must have been written for its time to tell a
	// later write from that one: file systems keep times in steps, some of 2 s.
	settled = 3 * time.Second
	// maxFile bounds what is read of a file, in bytes.
	maxFile = 4 << 20
)

// reloader holds what was last read from a few files that belong together.
type reloader[T any] struct {
	what    string                  // the files are, for the log
	paths   []string                // where one is empty, its content is nil
	check   func(os.FileInfo) error // whether a file may be used; may be nil
	parse   func(contents [][]byte) (*T, error)
	renewed func(*T) // tells the log of something new; may be nil
	log     *slog.Logger

	current atomic.Pointer[T]
	looked  atomic.Int64 // when the files were looked at last

	mu        sync.Mutex
	seen      []os.FileInfo // the files as they were when they were read
	fresh     bool          // one of them was too new to tell it from a later one by its time
	contents  [][]byte      // of what is current
	complaint string        // what the log was told last
}

// open reads for the first time; only then is a mistake an error.
func (r *reloader[T]) open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked.Store(time.Now().UnixNano())
	_, err := r.read()
	return err
}

// get returns what was read last, after a look at the files if it is time. While
// one caller looks, the others do not wait for it.
func (r *reloader[T]) get() *T {
	now := time.Now().UnixNano()
	// A clock that was set back makes it time, too.
	if ago := now - r.looked.Load(); (ago < 0 || ago >= int64(lookEvery)) && r.mu.TryLock() {
		r.looked.Store(now)
		if r.fresh || r.changed() {
			_ = r.renew() // the log is told
		}
		r.mu.Unlock()
	}
	return r.current.Load()
}

// reload reads the files whether they seem to have changed or not.
func (r *reloader[T]) reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renew()
}

// renew reads again and tells the log how that went, of a mistake once. The caller
// holds r.mu.
func (r *reloader[T]) renew() error {
	fresh, err := r.read()
	switch {
	case err == nil:
		r.complaint = ""
		if fresh && r.renewed != nil {
			r.renewed(r.current.Load())
		}
	case err.Error() != r.complaint:
		r.complaint = err.Error()
		r.log.Error("a changed file cannot be used: what was read before holds on", "what", r.what, "error", r.complaint)
	}
	return err
}

// read reads the files, and reports whether they hold something new. The caller
// holds r.mu.
func (r *reloader[T]) read() (renewed bool, err error) {
	seen := make([]os.FileInfo, len(r.paths))
	contents := make([][]byte, len(r.paths))
	r.fresh, r.seen = true, nil // until all of it is known
	for i, p := range r.paths {
		if p == "" {
			continue
		}
		if contents[i], seen[i], err = r.readFile(p); err != nil {
			return false, err
		}
	}
	r.seen = seen
	r.fresh = slices.ContainsFunc(seen, func(f os.FileInfo) bool { return f != nil && time.Since(f.ModTime()) < settled })
	if r.contents != nil && slices.EqualFunc(contents, r.contents, bytes.Equal) {
		return false, nil
	}
	v, err := r.parse(contents)
	if err != nil {
		return false, err
	}
	r.contents = contents
	r.current.Store(v)
	return true, nil
}

func (r *reloader[T]) readFile(path string) ([]byte, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat() // before: what is written while it is read changes its time
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a file", path)
	}
	if r.check != nil {
		if err := r.check(info); err != nil {
			return nil, nil, fmt.Errorf("%s %w", path, err)
		}
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(content) > maxFile:
		return nil, nil, fmt.Errorf("%s %w", path, errTooLarge)
	}
	return content, info, nil
}

var errTooLarge = errors.New("is larger than 4 MiB: it cannot be what it should be")

// changed reports whether the files may be others than those read last. The
// caller holds r.mu.
func (r *reloader[T]) changed() bool {
	for i, p := range r.paths {
		if p == "" {
			continue
		}
		now, err := os.Stat(p)
		if err != nil || !same(r.seen[i], now) {
			return true
		}
	}
	return false
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
