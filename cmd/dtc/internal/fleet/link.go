package fleet

import (
	"context"
	"sync"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// peer is a service or a database.
type peer interface {
	dtc.Participant
	dtc.Lister
	Kind() string
	URL() string // without credentials
	Probe(ctx context.Context) error
	Close() error
}

// caller is a peer that is called over HTTP.
type caller struct{ *dtchttp.Participant }

func (caller) Kind() string { return "http" }

// link is a participant that is closed when it has been retired and its last call
// is over: that call would be cut, or its connection stay open.
type link struct {
	peer

	mu      sync.Mutex
	calls   int
	retired bool
}

func (l *link) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
}

func (l *link) end() {
	l.mu.Lock()
	l.calls--
	over := l.calls == 0 && l.retired
	l.mu.Unlock()
	if over {
		_ = l.Close()
	}
}

func (l *link) retire() {
	l.begin()
	l.mu.Lock()
	l.retired = true
	l.mu.Unlock()
	l.end()
}

// Prepare implements [dtc.Participant].
func (l *link) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	l.begin()
	defer l.end()
	return l.peer.Prepare(ctx, b)
}

// Commit implements [dtc.Participant].
func (l *link) Commit(ctx context.Context, b dtc.Branch) error {
	l.begin()
	defer l.end()
	return l.peer.Commit(ctx, b)
}

// Rollback implements [dtc.Participant].
func (l *link) Rollback(ctx context.Context, b dtc.Branch) error {
	l.begin()
	defer l.end()
	return l.peer.Rollback(ctx, b)
}

// InDoubt implements [dtc.Lister].
func (l *link) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	l.begin()
	defer l.end()
	return l.peer.InDoubt(ctx, log)
}
