package dtc

import (
	"context"
	"errors"
	"time"

	"github.com/dtc-project/dtc/internal/chance"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
)

// own runs a transaction on the caller's goroutine until its outcome is known and
// phase two is over or the completion wait has passed. It returns what may be
// told, and whether nobody else can know the transaction any more.
func (t *txn) own(ctx context.Context, opts *TxOptions, first protocol.Event) (committed, private bool, err error) {
	defer t.c.owners.Done()
	if t.growth != nil {
		t.c.mu.Lock()
		t.c.grown(t)
		t.c.mu.Unlock()
	}
	t.mu.Lock()
	t.ctx, t.owned = ctx, true
	if t.waits {
		t.ctx, t.cancel = context.WithCancel(ctx)
	}
	t.mayOnePhase()
	t.step(first)
	t.pump(true)
	timer := t.untilTold(ctx, opts)
	if !t.ended && !t.complete(ctx, opts, timer) {
		// Nobody waits any more: from here on the lanes move it.
		t.signal = nil
		t.leaves()
	}
	if timer != nil {
		timer.Stop()
	}
	t.owned = false
	t.leaveInDoubt()
	t.unlinkDone()
	t.detach()
	committed, err = t.toldResult()
	private = t.private()
	t.mu.Unlock()
	failpoint.Hit(failpoint.TxReturn)
	return committed, private, err
}

// untilTold forces what must be forced and waits for the rest. The caller holds
// t.mu; it is released while waiting. It returns its timer, if it needed one.
func (t *txn) untilTold(ctx context.Context, opts *TxOptions) (timeout *time.Timer) {
	var timeoutC <-chan time.Time
	done := ctx.Done()
	for {
		if t.forcing != 0 {
			t.step(t.force())
			t.pump(true)
			continue
		}
		if t.told || t.ended {
			break
		}
		if t.m.State() == protocol.Settling {
			t.untilSettled(opts)
			break
		}
		if timeout == nil {
			timeout = time.NewTimer(chance.Apart(time.Until(t.prepareBy)))
			timeoutC = timeout.C
		}
		t.listen()
		t.mu.Unlock()
		var ev protocol.Event
		select {
		case <-t.signal:
		case <-timeoutC:
			ev = protocol.TimedOut{}
			if done != nil && ctx.Err() != nil { // both are over: the caller's word counts
				ev, done = protocol.Cancelled{Code: codeOf(ctx.Err())}, nil
			}
			failpoint.Hit(failpoint.TxTimedOut)
		case <-done:
			ev, done = protocol.Cancelled{Code: codeOf(ctx.Err())}, nil
			failpoint.Hit(failpoint.TxCancelled)
		}
		t.mu.Lock()
		if ev != nil {
			if _, ok := ev.(protocol.Cancelled); ok && t.cause == nil {
				t.cause = context.Cause(ctx)
			}
			t.step(ev)
			t.pump(true)
		}
	}
	return timeout
}

// listen makes pump tell the owner when there is something to do. The caller
// holds t.mu.
func (t *txn) listen() {
	if t.signal == nil {
		t.signal = make(chan struct{}, 1)
	}
}

// complete waits for phase two. The caller holds t.mu; it is released while
// waiting. It returns whether the transaction has ended.
func (t *txn) complete(ctx context.Context, opts *TxOptions, timer *time.Timer) bool {
	wait := t.completionWait(opts)
	if wait < 0 || t.m.State() == protocol.Doubtful || !t.told {
		return t.ended
	}
	t.listen()
	if timer == nil {
		timer = time.NewTimer(chance.Apart(wait))
		defer timer.Stop()
	} else {
		timer.Reset(chance.Apart(wait))
	}
	for !t.ended {
		if t.c.isClosing() {
			return false
		}
		t.mu.Unlock()
		over := false
		select {
		case <-t.signal:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			over = true
		}
		t.mu.Lock()
		if over {
			return t.ended
		}
	}
	return true
}

// completionWait returns how long the caller stays after the decision; less than zero: not at all.
func (t *txn) completionWait(opts *TxOptions) time.Duration {
	if opts != nil && opts.CompletionWait != 0 {
		return opts.CompletionWait
	}
	return t.c.cfg.CompletionWait
}

func (c *Coordinator) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// detach drops what only phase one and the caller needed.
func (t *txn) detach() {
	if t.cancel != nil {
		t.cancel()
		t.cancel = nil
	}
	t.ctx = t.c.ctx
	t.lastCause = nil
	for _, br := range t.branches {
		br.payload = nil
	}
}

func codeOf(err error) Code {
	if errors.Is(err, context.DeadlineExceeded) {
		return ReasonDeadline
	}
	return ReasonCancelled
}
