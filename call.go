package dtc

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
)

// call makes one call to a participant and tells its transaction how it went. It
// runs on a goroutine of the lane, or for participants that never block on
// whatever goroutine moves the transaction.
func (c *Coordinator) call(l *lane, j job) {
	t, br, r := j.br.tx, j.br, l.p.Load()
	b, ctx, ok := t.callArguments(br, j.verb)
	if !ok {
		t.handle(protocol.Withdrawn{Branch: br.index})
		return
	}
	cancel := context.CancelFunc(func() {})
	if !r.inline {
		limit := l.timing.FinishAttempt
		if j.verb == protocol.Prepare {
			limit = l.timing.PrepareAttempt
		}
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	call := TraceCall{t.id, t.xid, l.id, j.verb.String(), b.Attempt}
	if f := c.cfg.Trace.Calling; f != nil {
		f(call)
	}
	var began time.Time
	if c.cfg.Trace.Called != nil {
		began = time.Now()
	}
	vote, err := invoke(ctx, r, j.verb, b)
	if f := c.cfg.Trace.Called; f != nil {
		f(call, vote, err, time.Since(began))
	}
	ev, answered := classify(ctx, j.verb, br.index, vote, err)
	cancel()
	switch {
	case !answered && j.verb == protocol.Prepare && t.abandoned():
		// We hung up, not the participant: it says nothing about its health.
	case !answered:
		l.answered(j.verb, err)
	case !r.inline || l.troubled.Load():
		l.answered(j.verb, nil)
	}
	t.mu.Lock()
	t.note(br, j.verb, answered, err)
	t.step(ev)
	t.unlinkDone(br)
	t.pump(false)
	t.mu.Unlock()
}

// abandoned reports whether the transaction has stopped waiting for votes.
func (t *txn) abandoned() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told || t.ctx.Err() != nil
}

// callArguments prepares a call. It returns false if a prepare has become
// pointless, and then the call must not be made.
func (t *txn) callArguments(br *branchRun, verb protocol.Verb) (Branch, context.Context, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := Branch{Participant: br.lane.id, TxID: t.id, XID: t.xid, LowWater: br.lane.lowWater()}
	if verb != protocol.Prepare {
		br.finishes++
		b.Attempt = br.finishes
		return b, t.finishContext(br.lane.inline()), true
	}
	if t.m.State() != protocol.Preparing {
		return b, nil, false
	}
	br.prepares++
	b.Attempt, b.Payload, b.Deadline = br.prepares, br.payload, t.prepareBy
	return b, t.ctx, true
}

// finishContext carries the caller's values into phase two, but neither its
// deadline nor its cancellation. Closing the coordinator ends it.
func (t *txn) finishContext(inline bool) context.Context {
	switch {
	case t.ctx == t.c.ctx:
		return t.c.ctx
	case inline && t.ctx.Done() == nil:
		return t.ctx // it never ends, and the call never waits
	}
	return withValues{t.c.ctx, t.ctx}
}

// withValues is a context with the values of another one.
type withValues struct {
	context.Context
	values context.Context
}

func (v withValues) Value(key any) any {
	if x := v.Context.Value(key); x != nil {
		return x // the runtime's own keys: cancellation finds its parent
	}
	return v.values.Value(key)
}

// invoke calls the participant's method, and turns a panic into an error.
func invoke(ctx context.Context, p Participant, verb protocol.Verb, b Branch) (vote Vote, err error) {
	defer func() {
		if r := recover(); r != nil {
			vote, err = VoteAbort, &panicError{fmt.Sprintf("participant %s panicked in %s: %v", b.Participant, verb, r)}
		}
	}()
	switch verb {
	case protocol.Prepare:
		return p.Prepare(ctx, b)
	case protocol.Commit:
		return 0, p.Commit(ctx, b)
	case protocol.Rollback:
		return 0, p.Rollback(ctx, b)
	}
	panic("unreachable")
}

type panicError struct{ text string }

func (e *panicError) Error() string { return e.text }

// classify turns what a call returned into an event, and says whether the
// participant has answered at all.
func classify(ctx context.Context, verb protocol.Verb, i int, vote Vote, err error) (protocol.Event, bool) {
	if verb == protocol.Prepare {
		return classifyPrepare(ctx, i, vote, err)
	}
	if err == nil {
		return protocol.Acked{Branch: i}, true
	}
	var finished *FinishedError
	switch {
	case errors.As(err, &finished) && (finished.Outcome == Committed || finished.Outcome == RolledBack):
		return protocol.FinishedOtherwise{Branch: i, Outcome: finished.Outcome}, true
	case errors.Is(err, ErrUnknownBranch):
		return protocol.Unknown{Branch: i}, true
	}
	return protocol.NoAnswer{Branch: i, Verb: verb}, false
}

func classifyPrepare(ctx context.Context, i int, vote Vote, err error) (protocol.Event, bool) {
	if err == nil && vote <= VoteReadOnly {
		return protocol.Voted{Branch: i, Vote: vote}, true
	}
	var panicked *panicError
	switch {
	case err == nil || errors.As(err, &panicked) || vote != VoteAbort:
		// No vote we know, a panic, or "yes" and an error in one breath.
		return protocol.Voted{Branch: i, Vote: VoteAbort, Unsure: true, Broken: true}, true
	case errors.Is(err, errClean):
		return protocol.Voted{Branch: i, Vote: VoteAbort}, true
	case noAnswer(err) || ctx.Err() != nil:
		reached := errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded)
		return protocol.NoAnswer{Branch: i, Verb: protocol.Prepare, Reached: reached}, false
	}
	return protocol.Voted{Branch: i, Vote: VoteAbort, Unsure: true}, true
}

// noAnswer reports whether an error of Prepare means that the participant may
// not have answered at all.
func noAnswer(err error) bool {
	var network net.Error
	return errors.Is(err, ErrNoAnswer) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || errors.As(err, &network) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// note keeps what a call returned, for people. The caller holds t.mu.
func (t *txn) note(br *branchRun, verb protocol.Verb, answered bool, err error) {
	br.nextAttempt = time.Time{}
	if err == nil {
		br.failures, br.lastError = 0, ""
		return
	}
	br.failures++
	br.lastError = err.Error()
	if answered && verb == protocol.Prepare && t.cause == nil {
		t.cause = err
		return
	}
	if verb == protocol.Prepare && t.m.State() == protocol.Preparing {
		t.branchCause(br, err)
	}
}

// branchCause remembers the error of an attempt without an answer: if nothing
// better comes it explains the timeout.
func (t *txn) branchCause(br *branchRun, err error) {
	if t.lastCause == nil {
		t.lastCause = map[int]error{}
	}
	t.lastCause[br.index] = err
}
