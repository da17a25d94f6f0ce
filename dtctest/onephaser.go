package dtctest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// TestOnePhaser checks every promise of [dtc.OnePhaser] in a subtest, for the payloads of
// the subject. A participant that has the ability must also pass [TestParticipant].
// newSubject is called for each; it may give the same participant every time. Without
// Subject.Effect little can be checked but what the answers say.
func TestOnePhaser(t *testing.T, newSubject func(t *testing.T) Subject) {
	run(t, OnePhaserPromises(), newSubject)
}

// OnePhaserPromises returns the suite, for those who run it elsewhere than in a Go test.
func OnePhaserPromises() []Promise {
	return exported(append(append([]promise{}, onePromises...), onePromisesOfIncarnations...))
}

// onePhaser ends the check if the participant cannot do it.
func (c *check) onePhaser() dtc.OnePhaser {
	c.Helper()
	p, ok := c.Participant.(dtc.OnePhaser)
	if !ok {
		c.Fatalf("the participant is no dtc.OnePhaser")
	}
	return p
}

// able is onePhaser for a branch that is going to be committed in one phase.
func (c *check) able(b dtc.Branch) dtc.OnePhaser {
	c.Helper()
	p := c.onePhaser()
	if !p.CanOnePhase(b) {
		c.Fatalf("CanOnePhase says false for an ordinary payload of the subject")
	}
	return p
}

// again is the same transaction under a new XID, as after it was rolled back and forgotten.
// If the log has been reopened since, the XID is of the later incarnation.
func (c *check) again(b dtc.Branch) dtc.Branch {
	n := c.branchAt(b.XID.Log, c.nextSeq())
	n.TxID, n.Payload, n.Fingerprint = b.TxID, b.Payload, b.Fingerprint
	return n
}

func (c *check) nextSeq() uint64 {
	c.seq++
	return c.seq
}

// reopen ends the incarnation that all branches so far are of.
func (c *check) reopen() { c.age++ }

// restart kills the participant and starts it again, if the subject can.
func (c *check) restart() {
	c.Helper()
	if c.Restart == nil {
		c.Skipf("Subject.Restart is not set")
	}
	p, err := c.Restart()
	if err != nil {
		c.Fatalf("restart: %v", err)
	}
	c.Participant = p
}

// onePhase repeats CommitOnePhase until there is an answer.
func (c *check) onePhase(b dtc.Branch) (dtc.Vote, error) {
	c.Helper()
	p := c.able(b)
	for b.Attempt = 1; ; b.Attempt++ {
		vote, err := p.CommitOnePhase(c.ctx, b)
		if !isNoAnswer(err) {
			return vote, err
		}
		c.pause(err, "commit in one phase", b)
	}
}

func (c *check) mustOnePhase(b dtc.Branch, when string) {
	c.Helper()
	if vote, err := c.onePhase(b); vote != dtc.VoteCommit || err != nil {
		c.Fatalf("commit in one phase, %s, answered %v, %v; want vote_commit", when, vote, err)
	}
}

// committedInOne names a new branch, commits it in one phase and checks that it has its
// effect.
func (c *check) committedInOne() dtc.Branch {
	c.Helper()
	b := c.branch()
	c.mustOnePhase(b, "of a new branch")
	c.effect(b, Effect{Applied: 1}, "after a commit in one phase")
	return b
}

// refusesOnePhase sends what comes too late, and checks that it leaves nothing.
func (c *check) refusesOnePhase(b dtc.Branch, when string) {
	c.Helper()
	if vote, err := c.onePhase(b); vote != dtc.VoteAbort {
		c.Errorf("%s: commit in one phase was answered %v, %v; want vote_abort", when, vote, err)
	}
	c.effect(b, Effect{}, when+", and a commit in one phase")
}

// conflicts checks the answer to an id that was committed for another request.
func (c *check) conflicts(b dtc.Branch, call func(dtc.Branch) (dtc.Vote, error), what string) {
	c.Helper()
	if vote, err := call(b); vote != dtc.VoteAbort || !errors.Is(err, dtc.ErrTxConflict) {
		c.Errorf("%s of a committed id with another request answered %v, %v; want vote_abort, and an error that wraps dtc.ErrTxConflict", what, vote, err)
	}
	c.effect(b, Effect{}, what+", refused because its id was committed for another request")
}

// settleOne repeats Settle until it succeeds.
func (c *check) settleOne(b dtc.Branch) dtc.Outcome {
	c.Helper()
	p := c.onePhaser()
	b.Deadline = time.Time{}
	for b.Attempt = 1; ; b.Attempt++ {
		outcome, err := p.Settle(c.ctx, b)
		if err == nil {
			return outcome
		}
		c.pause(err, "settle", b)
	}
}

func (c *check) settles(b dtc.Branch, want dtc.Outcome, when string) {
	c.Helper()
	if got := c.settleOne(b); got != want {
		c.Errorf("%s: settle answered %v, want %v", when, got, want)
	}
}

// proves checks what Prove finds for an id of a log: one of the XIDs.
func (c *check) proves(log dtc.LogID, id dtc.TxID, want dtc.XID, when string, or ...dtc.XID) {
	c.Helper()
	for {
		got, err := c.onePhaser().Prove(c.ctx, log, id)
		if err == nil {
			if got != want && !slices.Contains(or, got) {
				c.Errorf("%s: prove found %q, want %q", when, got, want)
			}
			return
		}
		c.pause(err, "prove", dtc.Branch{XID: dtc.XID{Log: log}})
	}
}

// applied counts the effects of several branches together.
func (c *check) applied(branches ...dtc.Branch) (n int) {
	c.Helper()
	for _, b := range branches {
		e, err := c.Effect(b.XID)
		if err != nil {
			c.Fatalf("looking at the effects of %s: %v", b.XID, err)
		}
		n += e.Applied
	}
	return n
}

// beside sends b, without repeating it, and makes the other call when b is on its way.
func beside(ctx context.Context, p dtc.OnePhaser, b dtc.Branch, other func()) (vote dtc.Vote, err error) {
	left, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(left)
		vote, err = p.CommitOnePhase(ctx, b)
	}()
	<-left
	other()
	<-done
	return vote, err
}
