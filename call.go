package dtc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/silence"
)

// call makes one call to a participant and tells its transaction how it went. It
// runs on a goroutine of the lane.
func (c *Coordinator) call(j job) {
	t := j.br.tx
	t.mu.Lock()
	t.call(j.br, j.verb)
	t.pump(false)
	t.mu.Unlock()
}

// call makes one call. The caller holds t.mu; it is released while the
// participant works.
func (t *txn) call(br *branchRun, verb protocol.Verb) {
	l, trace := br.lane, t.c.cfg.Trace
	if (verb == protocol.Rollback || verb == protocol.Settle) && t.stopped() {
		br.failures, br.lastError = br.failures+1, "a recovery hold covers it: it is not called"
		l.uncalled()
		t.step(protocol.NoAnswer{Branch: br.index, Verb: verb})
		return
	}
	r := l.p.Load()
	var b Branch
	ctx, ok := t.callArguments(&b, br, verb)
	if !ok {
		t.step(protocol.Withdrawn{Branch: br.index})
		t.unlinkDone()
		return
	}
	t.mu.Unlock()
	var cancel context.CancelFunc
	if !r.inline {
		timing := l.timing.Load()
		limit := timing.FinishAttempt
		if verb.Begins() {
			limit = timing.PrepareAttempt
		}
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	if f := trace.Calling; f != nil {
		f(TraceCall{t.id, t.xid, l.id, verb.String(), b.Attempt})
	}
	var began time.Time
	if trace.Called != nil {
		began = time.Now()
	}
	var vote Vote
	var outcome Outcome
	var err error
	switch {
	case r.gone && verb == protocol.Prepare:
		err = Refuse(fmt.Errorf("participant %s left the configuration", l.id))
	case r.gone && verb == protocol.CommitOnePhase: // what its id did before is not known
		err = fmt.Errorf("participant %s left the configuration", l.id)
	default:
		vote, outcome, err = invoke(ctx, r, verb, &b)
	}
	if f := trace.Called; f != nil {
		f(TraceCall{t.id, t.xid, l.id, verb.String(), b.Attempt}, vote, err, time.Since(began))
	}
	if err != nil {
		t.logPanic(l.id, err)
	}
	a := classify(ctx, verb, vote, err)
	if verb == protocol.Settle && a.kind == done {
		a.kind, a.outcome = settled, outcome
	}
	answered := a.kind != nothing
	silent := !answered && (verb.Begins() || noAnswer(err) || ctx.Err() != nil)
	if cancel != nil {
		cancel()
	}
	switch {
	case r.gone || l.p.Load() != r: // its health is nobody's business
	case !answered && verb.Begins() && t.abandoned():
		// We hung up, not the participant: it says nothing about its health.
	case silent:
		l.answered(verb, err)
	case !r.inline || l.troubled.Load():
		l.answered(verb, nil)
	}
	t.mu.Lock()
	t.note(br, verb, answered, err)
	t.answer(a, verb, br.index)
	t.unlinkDone()
}

// abandoned reports whether the transaction has stopped waiting for votes.
func (t *txn) abandoned() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told || t.ctx.Err() != nil
}

// callArguments fills in what a participant is called with. It returns false if a
// prepare has become pointless, and then the call must not be made. The caller
// holds t.mu.
func (t *txn) callArguments(b *Branch, br *branchRun, verb protocol.Verb) (context.Context, bool) {
	b.Participant, b.TxID, b.XID, b.LowWater = br.lane.id, t.id, t.xid, br.lane.lowWater()
	b.Fingerprint = t.fingerprint
	if !verb.Begins() {
		br.finishes++
		b.Attempt = br.finishes
		return t.finishContext(br.lane.inline()), true
	}
	if s := t.m.State(); s != protocol.Preparing && s != protocol.OnePhase {
		return nil, false
	}
	br.prepares++
	b.Attempt, b.Payload, b.Deadline = br.prepares, br.payload, t.prepareBy
	return t.ctx, true
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
func invoke(ctx context.Context, r *registration, verb protocol.Verb, b *Branch) (vote Vote, outcome Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			text := fmt.Sprintf("participant %s panicked in %s: %v", b.Participant, verb, p)
			vote, err = VoteAbort, &panicError{text, debug.Stack()}
		}
	}()
	switch verb {
	case protocol.Prepare:
		failpoint.Hit(failpoint.TxPrepareSent)
		vote, err = r.Prepare(ctx, *b)
	case protocol.Commit:
		failpoint.Hit(failpoint.TxCommitSent)
		err = r.Commit(ctx, *b)
	case protocol.Rollback:
		failpoint.Hit(failpoint.TxRollbackSent)
		err = r.Rollback(ctx, *b)
	case protocol.CommitOnePhase:
		failpoint.Hit(failpoint.TxOnePhaseSent)
		vote, err = r.commitOnePhase(ctx, b)
	case protocol.Settle:
		failpoint.Hit(failpoint.TxSettleSent)
		outcome, err = r.settle(ctx, b)
	}
	if err != nil {
		// A typed nil panics here, where it does no harm: some only when the errors
		// below them are looked for.
		_, _ = err.Error(), errors.Is(err, errFault)
	}
	return vote, outcome, err
}

func (t *txn) logPanic(participant string, err error) {
	var panicked *panicError
	if errors.As(err, &panicked) {
		t.c.cfg.Logger.Error("a participant panicked", "tx", string(t.id), "xid", t.xid.String(),
			"participant", participant, "error", err.Error(), "stack", string(panicked.stack))
	}
}

type panicError struct {
	text  string
	stack []byte
}

func (e *panicError) Error() string { return e.text }

// answer is what a call returned, sorted out.
type answer struct {
	kind    answerKind
	vote    Vote
	unsure  bool    // see protocol.Voted
	broken  bool    // see protocol.Voted
	reached bool    // see protocol.NoAnswer
	outcome Outcome // of a branch that had ended otherwise, or was settled
}

type answerKind uint8

const (
	nothing answerKind = iota
	voted
	done
	unknown
	finishedOtherwise
	settled
)

// answer tells the machine what a call returned. The caller holds t.mu.
func (t *txn) answer(a answer, verb protocol.Verb, i int) {
	// Each event is handed to step where it is made: so it stays on the stack.
	switch a.kind {
	case voted:
		failpoint.Hit(failpoint.TxVoteReceived)
		t.step(protocol.Voted{Branch: i, Vote: a.vote, Unsure: a.unsure, Broken: a.broken})
	case done:
		failpoint.Hit(failpoint.TxAckReceived)
		t.step(protocol.Acked{Branch: i})
	case unknown:
		t.step(protocol.Unknown{Branch: i})
	case finishedOtherwise:
		t.step(protocol.FinishedOtherwise{Branch: i, Outcome: a.outcome})
	case settled:
		failpoint.Hit(failpoint.TxSettled)
		t.step(protocol.Settled{Branch: i, Outcome: a.outcome})
	case nothing:
		failpoint.Hit(failpoint.TxNoAnswer)
		t.step(protocol.NoAnswer{Branch: i, Verb: verb, Reached: a.reached})
	}
}

// classify sorts out what a call returned.
func classify(ctx context.Context, verb protocol.Verb, vote Vote, err error) answer {
	switch {
	case verb.Begins() && err == nil && vote <= VoteReadOnly:
		return answer{kind: voted, vote: vote}
	case verb.Begins():
		return classifyPrepare(ctx, vote, err)
	case err == nil:
		return answer{kind: done}
	}
	var finished *FinishedError
	switch {
	case errors.As(err, &finished) && (finished.Outcome == Committed || finished.Outcome == RolledBack):
		return answer{kind: finishedOtherwise, outcome: finished.Outcome}
	case errors.Is(err, ErrUnknownBranch):
		return answer{kind: unknown}
	}
	return answer{}
}

func classifyPrepare(ctx context.Context, vote Vote, err error) answer {
	var panicked *panicError
	switch {
	case err == nil || errors.As(err, &panicked) || vote != VoteAbort || errors.Is(err, errFault):
		// No vote we know, a panic, "yes" and an error in one breath, or a failure
		// that calls itself one.
		return answer{kind: voted, unsure: true, broken: true}
	case errors.Is(err, errClean):
		return answer{kind: voted}
	case noAnswer(err) || ctx.Err() != nil:
		reached := errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded)
		return answer{reached: reached}
	}
	return answer{kind: voted, unsure: true}
}

// noAnswer reports whether an error of Prepare means that the participant may
// not have answered at all.
func noAnswer(err error) bool {
	return errors.Is(err, ErrNoAnswer) || silence.Is(err)
}

// note keeps what a call returned, for people. The caller holds t.mu.
func (t *txn) note(br *branchRun, verb protocol.Verb, answered bool, err error) {
	if err == nil && br.failures == 0 && br.lastError == "" && br.nextAttempt.IsZero() {
		return // as it nearly always is: nothing is written
	}
	br.nextAttempt = time.Time{}
	if err == nil {
		br.failures, br.lastError = 0, ""
		return
	}
	br.failures++
	br.lastError = err.Error()
	if answered && verb.Begins() {
		br.failures = 0 // an error can be a vote, and that is an answer
	}
	if answered && verb.Begins() && t.cause == nil && !t.told {
		t.cause = err
		return
	}
	if s := t.m.State(); s == protocol.Preparing || s == protocol.OnePhase {
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
