package dtctest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

// Fault is what a [Flaky] does to one call.
type Fault int

// The faults. A call that gets no answer because of one fails with an error that
// [ErrInjected] is in the chain of, with dtc.NoAnswer around it.
const (
	// NoFault delivers the request once and its answer.
	NoFault Fault = iota
	// Drop: the request never arrives.
	Drop
	// LoseAnswer: the request arrives and has its effect, the answer is lost.
	LoseAnswer
	// Late is reported like Drop, but the request arrives later: before some
	// later call, of whatever branch, or with [Flaky.DeliverLate].
	Late
	// Duplicate delivers the request two or three times, one after the other,
	// and gives one of the answers.
	Duplicate
	// AtOnce delivers two copies of the request at the same time.
	AtOnce
	// Echo delivers the request and its answer, and a copy of it later, as Late.
	Echo
	// Delay delivers after a pause of at most Faults.MaxDelay. If the context
	// ends first, the request is dropped.
	Delay
	// Hang waits for the end of the context, before or after the request has had
	// its effect, and gives no answer.
	Hang
	// HangPast ignores the end of the context and waits for [Flaky.Release]; then
	// the request is delivered after all.
	HangPast
	// CrashBefore and CrashAfter make the participant unreachable from this call
	// on, before or after the request's effect, until [Flaky.Restart].
	CrashBefore
	CrashAfter

	numFaults
)

var faultNames = [numFaults]string{
	"none", "drop", "lose_answer", "late", "duplicate", "at_once", "echo", "delay",
	"hang", "hang_past", "crash_before", "crash_after",
}

// String returns the fault's name.
func (f Fault) String() string {
	if f >= 0 && f < numFaults {
		return faultNames[f]
	}
	return fmt.Sprintf("fault(%d)", int(f))
}

// ErrInjected is in the chain of every error that a [Flaky] makes up.
var ErrInjected = errors.New("dtctest: injected fault")

// Method names a method of a participant.
type Method string

// The methods.
const (
	MethodPrepare        Method = "prepare"
	MethodCommit         Method = "commit"
	MethodRollback       Method = "rollback"
	MethodInDoubt        Method = "in_doubt"
	MethodCommitOnePhase Method = "commit_one_phase"
	MethodSettle         Method = "settle"
	MethodProve          Method = "prove"
)

// asks reports whether a call of the method has no effect, so that nobody would read
// its late answer.
func (m Method) asks() bool { return m == MethodInDoubt || m == MethodProve }

// Call is one call of a [Flaky].
type Call struct {
	N      int // counts from 1, over all methods
	Method Method
	// Branch is zero for MethodInDoubt; for MethodProve only TxID and XID.Log are set.
	Branch dtc.Branch
}

// Faults says how often what goes wrong.
type Faults struct {
	// Rate is the probability of each fault, per call. Their sum must not exceed
	// 1. To MethodInDoubt and MethodProve, which only ask, Late and Echo are LoseAnswer.
	Rate map[Fault]float64
	// MaxDelay bounds Delay. The default is 10 ms.
	MaxDelay time.Duration
	// Script, if not nil, is asked first; if it answers false, chance decides. It
	// must not call the Flaky.
	Script func(Call) (Fault, bool)
	// OnCrash and OnRestart tell the participant behind, for example
	// [Memory.Crash].
	OnCrash, OnRestart func()
}

// Flaky stands between a caller and a participant and makes the way between them
// bad, by chance from a seed or by a script. Called from one goroutine it does
// the same for the same seed. It starts no goroutine that outlives the call.
type Flaky struct {
	p      dtc.Participant
	faults Faults

	mu       sync.Mutex
	rand     *rand.Rand
	calls    int
	injected [numFaults]int
	down     bool
	healed   bool
	late     []Call
	release  chan struct{}
}

var (
	_ dtc.Participant = (*Flaky)(nil)
	_ dtc.Lister      = (*Flaky)(nil)
	_ dtc.NonBlocking = (*Flaky)(nil)
	_ dtc.OnePhaser   = (*Flaky)(nil)
)

// NewFlaky returns p behind a bad connection. It has the abilities that p has.
func NewFlaky(p dtc.Participant, seed uint64, faults Faults) *Flaky {
	if faults.MaxDelay == 0 {
		faults.MaxDelay = 10 * time.Millisecond
	}
	sum := 0.0
	for f, rate := range faults.Rate {
		if f <= NoFault || f >= numFaults || rate < 0 {
			panic(fmt.Sprintf("dtctest: rate %v of fault %v", rate, f))
		}
		sum += rate
	}
	if sum > 1 {
		panic(fmt.Sprintf("dtctest: the rates of all faults are together %v", sum))
	}
	return &Flaky{p: p, faults: faults, rand: rand.New(rand.NewPCG(seed, 0)), release: make(chan struct{})}
}

// ID implements [dtc.Participant].
func (f *Flaky) ID() string { return f.p.ID() }

// Listing implements [dtc.Lister].
func (f *Flaky) Listing() bool {
	l, ok := f.p.(dtc.Lister)
	return ok && l.Listing()
}

// NonBlocking implements the ability of that name. A plan with a fault that waits
// takes it away; a script must not use those on such a participant.
func (f *Flaky) NonBlocking() bool {
	n, ok := f.p.(dtc.NonBlocking)
	waits := f.faults.Rate[Delay] + f.faults.Rate[Hang] + f.faults.Rate[HangPast]
	return ok && n.NonBlocking() && waits == 0
}

// Prepare implements [dtc.Participant].
func (f *Flaky) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	var vote dtc.Vote
	err := f.call(ctx, MethodPrepare, b, func(ctx context.Context) (func(), error) {
		v, err := f.p.Prepare(ctx, b)
		return func() { vote = v }, err
	})
	if errors.Is(err, ErrInjected) {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	return vote, err
}

// Commit implements [dtc.Participant].
func (f *Flaky) Commit(ctx context.Context, b dtc.Branch) error {
	return f.call(ctx, MethodCommit, b, func(ctx context.Context) (func(), error) {
		return nil, f.p.Commit(ctx, b)
	})
}

// Rollback implements [dtc.Participant].
func (f *Flaky) Rollback(ctx context.Context, b dtc.Branch) error {
	return f.call(ctx, MethodRollback, b, func(ctx context.Context) (func(), error) {
		return nil, f.p.Rollback(ctx, b)
	})
}

// InDoubt implements [dtc.Lister].
func (f *Flaky) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	l, ok := f.p.(dtc.Lister)
	if !ok {
		return nil, errors.New("dtctest: this participant cannot list")
	}
	var list []dtc.InDoubtBranch
	err := f.call(ctx, MethodInDoubt, dtc.Branch{}, func(ctx context.Context) (func(), error) {
		got, err := l.InDoubt(ctx, log)
		return func() { list = got }, err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Restart makes a crashed participant reachable again.
func (f *Flaky) Restart() {
	if f.faults.OnRestart != nil {
		f.faults.OnRestart()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

// Crash makes it unreachable until Restart.
func (f *Flaky) Crash() {
	f.mu.Lock()
	f.down = true
	f.mu.Unlock()
	if f.faults.OnCrash != nil {
		f.faults.OnCrash()
	}
}

// Down reports whether it is unreachable.
func (f *Flaky) Down() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

// Heal restarts it if it is down, lets go what hangs, and injects nothing more.
// Requests that are still late stay so until DeliverLate.
func (f *Flaky) Heal() {
	f.mu.Lock()
	f.healed = true
	down := f.down
	f.mu.Unlock()
	if down {
		f.Restart()
	}
	f.Release()
}

// Release lets every call go that hangs past its context now.
func (f *Flaky) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.release)
	f.release = make(chan struct{})
}

// DeliverLate delivers all late requests now, in random order, and returns how
// many there were. Nobody waits for their answers any more.
func (f *Flaky) DeliverLate(ctx context.Context) int {
	for n := 0; ; n++ {
		c, ok := f.takeLate(1)
		if !ok {
			return n
		}
		f.deliver(ctx, c)
	}
}

// Injected returns how often each fault was injected.
func (f *Flaky) Injected() map[Fault]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := map[Fault]int{}
	for fault, n := range f.injected {
		if n > 0 && fault != int(NoFault) {
			m[Fault(fault)] = n
		}
	}
	return m
}

// Calls returns how many calls were made, those without fault included.
func (f *Flaky) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
