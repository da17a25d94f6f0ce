package wal_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// BenchmarkForce compares forcing records of about 100 bytes with the least that
// any log with group commit must do: take what has gathered, write it, sync it,
// wake those who wait.
func BenchmarkForce(b *testing.B) {
	record := &txlog.Abort{
		Ref:    txlog.Ref{Incarnation: 1, Seq: 1 << 20},
		Reason: protocol.Reason{Code: protocol.ReasonVoteAbort, Participant: "bank", Message: strings.Repeat("m", 86)},
	}
	for _, callers := range []int{1, 16, 400} {
		b.Run(fmt.Sprintf("callers=%d/wal", callers), func(b *testing.B) {
			l, err := wal.Open(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			share(b, callers, func() error { return l.Force(record) })
			s := l.Stats()
			b.ReportMetric(float64(s.Records)/float64(s.Forced), "records/sync")
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
		b.Run(fmt.Sprintf("callers=%d/bare", callers), func(b *testing.B) {
			l := newBare(b)
			payload := make([]byte, 100)
			share(b, callers, func() error { l.force(payload); return nil })
			l.close()
		})
	}
}

// share has callers goroutines run b.N calls in all.
func share(b *testing.B, callers int, call func() error) {
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkAppend(b *testing.B) {
	l, err := wal.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	record := &txlog.Commit{Ref: txlog.Ref{Incarnation: 1, Seq: 1 << 20}, Votes: make([]protocol.Vote, 3)}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(record); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// bare is a group commit and nothing else: no format, no checksum, one file that
// starts over when it is full.
type bare struct {
	mu     sync.Mutex
	work   *sync.Cond
	buf    []byte
	wake   chan struct{}
	closed bool
	done   chan struct{}
}

func newBare(b *testing.B) *bare {
	const size = 8 << 20
	f, err := vfs.OS{}.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Preallocate(size); err != nil {
		b.Fatal(err)
	}
	l := &bare{wake: make(chan struct{}), done: make(chan struct{})}
	l.work = sync.NewCond(&l.mu)
	go func() {
		defer close(l.done)
		defer f.Close()
		var spare []byte
		for off := int64(0); ; {
			l.mu.Lock()
			for len(l.buf) == 0 && !l.closed {
				l.work.Wait()
			}
			buf, wake := l.buf, l.wake
			l.buf, l.wake = spare[:0], make(chan struct{})
			l.mu.Unlock()
			if len(buf) == 0 {
				return
			}
			if off+int64(len(buf)) > size {
				off = 0
			}
			if _, err := f.WriteAt(buf, off); err != nil {
				panic(err)
			}
			if err := f.Sync(); err != nil {
				panic(err)
			}
			off += int64(len(buf))
			close(wake)
			spare = buf
		}
	}()
	return l
}

func (l *bare) force(b []byte) {
	l.mu.Lock()
	l.buf = append(l.buf, b...)
	wake := l.wake
	l.work.Signal()
	l.mu.Unlock()
	<-wake
}

func (l *bare) close() {
	l.mu.Lock()
	l.closed = true
	l.work.Signal()
	l.mu.Unlock()
	<-l.done
}
