package histories

import (
	"slices"
	"sync"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
)

// Recorder notes what clients of real processes call and hear. Its methods may be
// called from any number of goroutines.
type Recorder struct {
	began time.Time

	mu  sync.Mutex
	ops []sim.Op
}

// NewRecorder returns a recorder that has noted nothing.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Call notes that something is about to be called, and returns what notes its answer.
// The time is the recorder's. A call whose answer is never noted had none.
func (r *Recorder) Call(op sim.Op) (answered func(sim.Answer)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	op.Call, op.Return, op.Answer = time.Since(r.began), -1, sim.NoAnswer
	i := len(r.ops)
	r.ops = append(r.ops, op)
	return func(a sim.Answer) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ops[i].Return, r.ops[i].Answer = time.Since(r.began), a
	}
}

// During notes an event that takes place somewhere in the time that f takes.
func (r *Recorder) During(k sim.OpKind, f func()) {
	from := time.Since(r.began)
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, sim.Op{Kind: k, Call: from, Return: time.Since(r.began)})
}

// Ops returns what was noted so far.
func (r *Recorder) Ops() []sim.Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops)
}
