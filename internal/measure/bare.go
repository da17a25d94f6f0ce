// Package measure measures whole transactions beside the limit of the machine, in
// the same run. The ratio is what counts; absolute numbers belong to one machine at
// one hour.
//
// The limit is a group commit of one 100-byte record for each transaction, with the
// same kind of file and the same sync, and no protocol: [Bare], which is written by
// hand in fifty lines, and the log itself with the same records.
package measure

import (
	"sync"

	"github.com/dtc-project/dtc/internal/vfs"
)

// Bare is the limit: a group commit that does nothing but append a record to a
// preallocated file and share the sync with everybody who waits at that moment.
type Bare struct {
	file vfs.File
	size int64
	wake chan struct{}
	quit chan struct{}
	done sync.WaitGroup
	err  error // the first failure; read after Close

	mu      sync.Mutex
	pending []byte
	group   *group
}

type group struct{ synced chan struct{} }

// OpenBare creates the file and starts the writer.
func OpenBare(path string, size int64) (*Bare, error) {
	f, err := vfs.OS{}.Create(path)
	if err != nil {
		return nil, err
	}
	if err := f.Preallocate(size); err != nil {
		return nil, err
	}
	b := &Bare{file: f, size: size, wake: make(chan struct{}, 1), quit: make(chan struct{}), group: newGroup()}
	b.done.Go(b.write)
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

func (b *Bare) write() {
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
			if at+int64(len(batch)) > b.size {
				at = 0
			}
			_, err := b.file.WriteAt(batch, at)
			if err == nil {
				err = b.file.Sync()
			}
			if b.err == nil {
				b.err = err
			}
			at += int64(len(batch))
		}
		close(g.synced)
		spare = batch
	}
}

// Close stops the writer, and returns what went wrong.
func (b *Bare) Close() error {
	close(b.quit)
	b.done.Wait()
	if err := b.file.Close(); b.err == nil {
		b.err = err
	}
	return b.err
}
