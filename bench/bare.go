package bench

import (
	"os"
	"sync"
	"syscall"
)

// Bare is the limit: a group commit that does nothing but append a record to a
// preallocated file and share the sync with everybody who waits at that moment.
type Bare struct {
	file *os.File
	wake chan struct{}
	quit chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	pending []byte
	group   *group

	Syncs int64 // read it after Close
}

type group struct{ synced chan struct{} }

// OpenBare creates the file and starts the writer.
func OpenBare(path string, size int64) (*Bare, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	b := &Bare{file: f, wake: make(chan struct{}, 1), quit: make(chan struct{}), group: newGroup()}
	b.done.Add(1)
	go b.write(size)
	return b, nil
}

func newGroup() *group { return &group{make(chan struct{})} }

// Append returns when the record is durable.
func (b *Bare) Append(record []byte) {
	b.mu.Lock()
	b.pending = append(b.pending, record...)
	g := b.group
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	<-g.synced
}

func (b *Bare) write(size int64) {
	defer b.done.Done()
	var spare []byte
	var at int64
	for {
		select {
		case <-b.wake:
		case <-b.quit:
			return
		}
		b.mu.Lock()
		batch, g := b.pending, b.group
		b.pending, b.group = spare[:0], newGroup()
		b.mu.Unlock()
		if len(batch) > 0 {
			if at+int64(len(batch)) > size {
				at = 0
			}
			if _, err := b.file.WriteAt(batch, at); err != nil {
				panic(err)
			}
			if err := syscall.Fdatasync(int(b.file.Fd())); err != nil {
				panic(err)
			}
			at += int64(len(batch))
			b.Syncs++
		}
		close(g.synced)
		spare = batch
	}
}

// Close stops the writer.
func (b *Bare) Close() error {
	close(b.quit)
	b.done.Wait()
	return b.file.Close()
}
