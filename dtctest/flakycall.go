package dtctest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

// request delivers one request. What it returns is the answer; take keeps it for
// the caller, and is called for one answer only.
type request func(ctx context.Context) (take func(), err error)

// chances are the dice of one call, thrown at once under the lock, so that a seed
// decides the same whatever the call then waits for.
type chances struct {
	fault    Fault
	copies   int  // of Duplicate
	answer   int  // which of the copies answers
	before   bool // Hang: before the effect
	delay    time.Duration
	deadline chan struct{} // Release, as it was when the call came
}

func (f *Flaky) call(ctx context.Context, method Method, b dtc.Branch, do request) error {
	if c, ok := f.takeLate(0.3); ok {
		f.deliver(ctx, c)
	}
	c := Call{Method: method, Branch: b}
	ch, err := f.throw(&c)
	if err != nil {
		return err
	}
	lost := func() error { return injected(ch.fault, c) }
	switch ch.fault {
	case NoFault:
	case Drop:
		return lost()
	case LoseAnswer:
		_, _ = do(ctx)
		return lost()
	case Late:
		f.keepLate(c)
		return lost()
	case Echo:
		f.keepLate(c)
	case Duplicate:
		return repeat(ctx, do, ch)
	case AtOnce:
		return atOnce(ctx, do, ch)
	case Delay:
		t := time.NewTimer(ch.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return lost()
		}
	case Hang:
		if !ch.before {
			_, _ = do(ctx)
		}
		<-ctx.Done()
		return lost()
	case HangPast:
		<-ch.deadline
		ctx = context.WithoutCancel(ctx)
	case CrashBefore:
		f.Crash()
		return lost()
	case CrashAfter:
		_, _ = do(ctx)
		f.Crash()
		return lost()
	}
	return take(do(ctx))
}

func (f *Flaky) throw(c *Call) (chances, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	c.N = f.calls
	if f.down {
		return chances{}, dtc.NoAnswer(fmt.Errorf("%w: down, %s of call %d", ErrInjected, c.Method, c.N))
	}
	ch := chances{
		copies:   2 + f.rand.IntN(2),
		before:   f.rand.IntN(2) == 0,
		delay:    time.Duration(f.rand.Int64N(int64(f.faults.MaxDelay) + 1)),
		deadline: f.release,
	}
	ch.answer = f.rand.IntN(ch.copies)
	p := f.rand.Float64()
	if f.healed {
		return ch, nil
	}
	scripted := false
	if f.faults.Script != nil {
		var fault Fault
		if fault, scripted = f.faults.Script(*c); scripted {
			ch.fault = fault
		}
	}
	for fault := Drop; fault < numFaults && !scripted; fault++ {
		if p -= f.faults.Rate[fault]; p < 0 && f.faults.Rate[fault] > 0 {
			ch.fault = fault
			break
		}
	}
	f.injected[ch.fault]++
	if c.Method.asks() && (ch.fault == Late || ch.fault == Echo) {
		ch.fault = LoseAnswer
	}
	return ch, nil
}

func injected(fault Fault, c Call) error {
	return dtc.NoAnswer(fmt.Errorf("%w: %s, %s of call %d", ErrInjected, fault, c.Method, c.N))
}

func take(keep func(), err error) error {
	if keep != nil {
		keep()
	}
	return err
}

func repeat(ctx context.Context, do request, ch chances) (err error) {
	for i := range ch.copies {
		keep, e := do(ctx)
		if i == ch.answer {
			err = take(keep, e)
		}
	}
	return err
}

func atOnce(ctx context.Context, do request, ch chances) error {
	type answer struct {
		keep func()
		err  error
	}
	var answers [2]answer
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			keep, err := do(ctx)
			answers[i] = answer{keep, err}
		})
	}
	wg.Wait()
	a := answers[ch.answer%2]
	return take(a.keep, a.err)
}

func (f *Flaky) keepLate(c Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = append(f.late, c)
}

// takeLate takes one of the late requests with the given probability.
func (f *Flaky) takeLate(probability float64) (Call, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.late) == 0 || f.down || f.rand.Float64() >= probability {
		return Call{}, false
	}
	i := f.rand.IntN(len(f.late))
	c := f.late[i]
	f.late[i] = f.late[len(f.late)-1]
	f.late = f.late[:len(f.late)-1]
	return c, true
}

// deliver lets a late request have its effect; its caller is long gone. The
// context is that of the call it happens to arrive before.
func (f *Flaky) deliver(ctx context.Context, c Call) {
	switch c.Method {
	case MethodPrepare:
		_, _ = f.p.Prepare(ctx, c.Branch)
	case MethodCommit:
		_ = f.p.Commit(ctx, c.Branch)
	case MethodRollback:
		_ = f.p.Rollback(ctx, c.Branch)
	case MethodCommitOnePhase, MethodSettle:
		f.deliverOnePhase(ctx, c)
	case MethodInDoubt, MethodProve: // they have no effect
	}
}
