package dtctest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// TB is the part of [testing.TB] that the suite needs, so that it can be run
// outside a test, and be tested itself. Fatalf and Skipf must not return.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Effect is what can be seen of one branch from outside.
type Effect struct {
	// Held: something is reserved for it, which others must wait for.
	Held bool
	// Applied is how many times its work can be seen done.
	Applied int
}

// Subject is a participant under test, with what is needed to look behind it.
// Only Participant is required; what is missing is not checked, or skipped where
// nothing would be left to check.
type Subject struct {
	Participant dtc.Participant
	// Payload is what makes Prepare vote commit, PayloadAbort vote abort, and
	// PayloadReadOnly vote read_only. The latter two are optional.
	Payload, PayloadAbort, PayloadReadOnly []byte
	// Effect looks at the effects of a branch, not at what the participant says.
	Effect func(x dtc.XID) (Effect, error)
	// Restart kills the participant without warning, starts it again on what it
	// had made durable, and returns it.
	Restart func() (dtc.Participant, error)
	// Prune makes the participant drop now what low water allows it to drop.
	Prune func(ctx context.Context) error
	// Rows counts the branches of a log that the participant still has rows for.
	Rows func(log dtc.LogID) (int, error)
	// Rounds is how often the checks that race two calls do so; 20 if zero.
	Rounds int
	// Timeout bounds each check; 30 s if zero.
	Timeout time.Duration
}

// Promise is one thing that every participant must hold to.
type Promise struct {
	// Name is a sentence, Why what would be lost without it.
	Name, Why string
	// Check reports to t what is wrong. It uses transaction names of its own, so
	// that one participant can be checked for all promises.
	Check func(t TB, s Subject)
}

// TestParticipant checks every promise of [dtc.Participant] in a subtest.
// newSubject is called for each; it may give the same participant every time.
func TestParticipant(t *testing.T, newSubject func(t *testing.T) Subject) {
	run(t, ParticipantPromises(), newSubject)
}

func run(t *testing.T, promises []Promise, newSubject func(t *testing.T) Subject) {
	t.Helper()
	for _, p := range promises {
		t.Run(p.Name, func(t *testing.T) {
			p.Check(t, newSubject(t))
			if t.Failed() {
				t.Logf("why it matters: %s", p.Why)
			}
		})
	}
}

// ParticipantPromises returns the suite, for those who run it elsewhere than in a
// Go test.
func ParticipantPromises() []Promise { return exported(promises) }

func exported(list []promise) []Promise {
	var all []Promise
	for _, p := range list {
		all = append(all, Promise{Name: p.name, Why: p.why, Check: func(t TB, s Subject) {
			t.Helper()
			if s.Timeout == 0 {
				s.Timeout = 30 * time.Second
			}
			if s.Rounds == 0 {
				s.Rounds = 20
			}
			ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
			defer cancel()
			p.check(&check{TB: t, Subject: s, ctx: ctx, log: randomLog()})
		}})
	}
	return all
}

type promise struct {
	name, why string
	check     func(c *check)
}

// check is one run of one promise.
type check struct {
	TB
	Subject
	ctx context.Context
	log dtc.LogID
	seq uint64
	age uint32 // how often the log has been opened again
}

func randomLog() (id dtc.LogID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// branch names a new branch of this check's own log.
func (c *check) branch() dtc.Branch {
	c.seq++
	return c.branchAt(c.log, c.seq)
}

func (c *check) branchAt(log dtc.LogID, seq uint64) dtc.Branch {
	nonce := binary.BigEndian.Uint32(log[:4])
	nonce += c.age * 0x9e3779b9 // each opening has its own
	x := dtc.XID{Log: log, Incarnation: dtc.Incarnation{Number: 3 + c.age, Nonce: nonce}, Seq: seq}
	return dtc.Branch{
		Participant: c.Participant.ID(), Payload: c.Payload,
		TxID: dtc.TxID(fmt.Sprintf("conformance-%s-%d", log, seq)), XID: x, Fingerprint: [16]byte{1},
		Attempt: 1, Deadline: time.Now().Add(c.Timeout),
	}
}

// later is a name of the same log that nothing uses yet: good as low water.
func (c *check) later() dtc.XID {
	x := c.branch().XID
	c.seq++
	return x
}

// phaseTwo is b as a commit or rollback carries it: without payload or deadline.
func phaseTwo(b dtc.Branch) dtc.Branch {
	b.Payload, b.Deadline = nil, time.Time{}
	return b
}

// prepare repeats until there is a vote.
func (c *check) prepare(b dtc.Branch) (dtc.Vote, error) {
	for b.Attempt = 1; ; b.Attempt++ {
		vote, err := c.Participant.Prepare(c.ctx, b)
		if !isNoAnswer(err) {
			return vote, err
		}
		c.pause(err, "prepare", b)
	}
}

func isNoAnswer(err error) bool {
	return errors.Is(err, dtc.ErrNoAnswer) || errors.Is(err, context.DeadlineExceeded)
}

// settle repeats a commit or rollback until it is acknowledged, or answered with
// one of the errors that mean more than "try again".
func (c *check) settle(what string, call func(context.Context, dtc.Branch) error, b dtc.Branch) error {
	b = phaseTwo(b)
	var finished *dtc.FinishedError
	for b.Attempt = 1; ; b.Attempt++ {
		err := call(c.ctx, b)
		if err == nil || errors.Is(err, dtc.ErrUnknownBranch) || errors.As(err, &finished) {
			return err
		}
		c.pause(err, what, b)
	}
}

func (c *check) pause(err error, what string, b dtc.Branch) {
	select {
	case <-time.After(5 * time.Millisecond):
	case <-c.ctx.Done():
		c.Fatalf("%s of %s gets no answer within %v: %v", what, b.XID, c.Timeout, err)
	}
}

func (c *check) commit(b dtc.Branch) error {
	return c.settle("commit", c.Participant.Commit, b)
}

func (c *check) rollback(b dtc.Branch) error {
	return c.settle("rollback", c.Participant.Rollback, b)
}

// prepared names a new branch and prepares it.
func (c *check) prepared() dtc.Branch {
	c.Helper()
	b := c.branch()
	c.mustPrepare(b)
	return b
}

func (c *check) mustPrepare(b dtc.Branch) {
	c.Helper()
	if vote, err := c.prepare(b); vote != dtc.VoteCommit || err != nil {
		c.Fatalf("prepare of a new branch answered %v, %v; want vote_commit", vote, err)
	}
}

func (c *check) mustCommit(b dtc.Branch) {
	c.Helper()
	if err := c.commit(b); err != nil {
		c.Fatalf("commit of a prepared branch answered: %v", err)
	}
}

func (c *check) mustRollback(b dtc.Branch) {
	c.Helper()
	if err := c.rollback(b); err != nil {
		c.Fatalf("rollback answered: %v", err)
	}
}

// effect checks what can be seen of b; without an observer it checks nothing.
func (c *check) effect(b dtc.Branch, want Effect, when string) {
	c.Helper()
	if c.Effect == nil {
		return
	}
	got, err := c.Effect(b.XID)
	if err != nil {
		c.Fatalf("looking at the effects of %s: %v", b.XID, err)
	}
	if got.Held != want.Held {
		c.Errorf("%s: held = %v, want %v", when, got.Held, want.Held)
	}
	if got.Applied != want.Applied {
		c.Errorf("%s: its work can be seen done %d times, want %d", when, got.Applied, want.Applied)
	}
}

// lister skips the check for participants that cannot list.
func (c *check) lister() dtc.Lister {
	c.Helper()
	l, ok := c.Participant.(dtc.Lister)
	if !ok || !l.Listing() {
		c.Skipf("the participant cannot list")
	}
	return l
}

// listed returns what is in doubt, or nil for participants that cannot list.
func (c *check) listed(log dtc.LogID) map[dtc.XID]bool {
	c.Helper()
	l, ok := c.Participant.(dtc.Lister)
	if !ok || !l.Listing() {
		return nil
	}
	list, err := l.InDoubt(c.ctx, log)
	if err != nil {
		c.Fatalf("the listing failed: %v", err)
	}
	set := map[dtc.XID]bool{}
	for _, b := range list {
		if set[b.XID] {
			c.Errorf("%s is listed twice", b.XID)
		}
		if b.XID.Log != log {
			c.Errorf("the listing of log %s names %s, of another log", log, b.XID)
		}
		set[b.XID] = true
	}
	return set
}

// drop makes the participant drop what it may: at once, or by sending it more
// finished branches than it can be expected to wait for.
func (c *check) drop(lowWater dtc.XID) {
	c.Helper()
	n := 300
	if c.Prune != nil {
		n = 1
	}
	for range n {
		b := c.branch()
		b.LowWater = lowWater
		c.mustRollback(b)
	}
	if c.Prune != nil {
		if err := c.Prune(c.ctx); err != nil {
			c.Fatalf("pruning: %v", err)
		}
	}
}
