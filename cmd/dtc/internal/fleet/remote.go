package fleet

import (
	"context"
	"sync"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// remote is a participant that is closed when it has been retired and its last call
// is over: the connection of that call would stay open otherwise.
type remote struct {
	*dtchttp.Participant

	mu      sync.Mutex
	calls   int
	retired bool
}

func (r *remote) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
}

func (r *remote) end() {
	r.mu.Lock()
	r.calls--
	over := r.calls == 0 && r.retired
	r.mu.Unlock()
	if over {
		_ = r.Close()
	}
}

func (r *remote) retire() {
	r.begin()
	r.mu.Lock()
	r.retired = true
	r.mu.Unlock()
	r.end()
}

// Prepare implements [dtc.Participant].
func (r *remote) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	r.begin()
	defer r.end()
	return r.Participant.Prepare(ctx, b)
}

// Commit implements [dtc.Participant].
func (r *remote) Commit(ctx context.Context, b dtc.Branch) error {
	r.begin()
	defer r.end()
	return r.Participant.Commit(ctx, b)
}

// Rollback implements [dtc.Participant].
func (r *remote) Rollback(ctx context.Context, b dtc.Branch) error {
	r.begin()
	defer r.end()
	return r.Participant.Rollback(ctx, b)
}

// InDoubt implements [dtc.Lister].
func (r *remote) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	r.begin()
	defer r.end()
	return r.Participant.InDoubt(ctx, log)
}
