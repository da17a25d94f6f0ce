package dtctest

import (
	"errors"

	"github.com/dtc-project/dtc"
)

var onePromises = []promise{
	{
		"a commit in one phase has its effect once, also when repeated",
		"The coordinator asks again whenever an answer is lost. A second effect is money moved twice.",
		func(c *check) {
			b := c.committedInOne()
			for range 2 {
				c.mustOnePhase(b, "repeated")
			}
			c.effect(b, Effect{Applied: 1}, "after three commits in one phase")
			if c.listed(c.log)[b.XID] {
				c.Errorf("a branch that was committed in one phase is listed as in doubt")
			}
		},
	},
	{
		"copies of one commit in one phase at the same time have the effect of one",
		"A retry may overtake the call it repeats. Both must not find that nobody was there before.",
		func(c *check) {
			for range c.Rounds {
				b := c.branch()
				p := c.able(b)
				c.atOnce(func() {
					vote, err := p.CommitOnePhase(c.ctx, b)
					if !isNoAnswer(err) && (vote != dtc.VoteCommit || err != nil) {
						c.Errorf("one of several commits in one phase at once answered %v, %v; want vote_commit", vote, err)
					}
				})
				c.mustOnePhase(b, "repeated")
				c.effect(b, Effect{Applied: 1}, "after commits in one phase at the same time")
			}
		},
	},
	{
		"a transaction committed in one phase is not done again under another XID",
		"After a power loss the log may know nothing of it, and the client asks again: a new XID, of this incarnation or of a later one. Only the participant can tell that all is done.",
		func(c *check) {
			first := c.committedInOne()
			same := c.again(first)
			c.mustOnePhase(same, "of a committed id under another XID")
			c.reopen()
			later := c.again(first)
			for range 2 {
				c.mustOnePhase(later, "of an id that an earlier incarnation committed")
			}
			c.effect(first, Effect{Applied: 1}, "committed, and asked for under two other XIDs")
			c.effect(same, Effect{}, "its id had been committed before")
			c.effect(later, Effect{}, "its id had been committed by an earlier incarnation")
			for _, b := range []dtc.Branch{later, phaseTwo(later), same, phaseTwo(same)} {
				c.settles(b, dtc.Committed, "the id was committed under another XID")
			}
		},
	},
	{
		"a committed id refuses another request",
		"Two requests share an id by mistake. To say committed would tell the second client that its work was done, and to do the work would do two things under one name.",
		func(c *check) {
			other := [16]byte{2}
			first := c.branch()
			c.mustOnePhase(first, "of a new branch")
			for range 2 {
				b := c.again(first)
				b.Fingerprint = other
				c.conflicts(b, c.onePhase, "commit in one phase")
				c.settles(b, dtc.RolledBack, "the id was committed for another request")
				c.reopen()
			}
			b := c.again(first)
			b.Fingerprint = other
			c.conflicts(b, c.prepare, "prepare")
			c.mustRollback(b)
			c.effect(first, Effect{Applied: 1}, "after another request was refused")
			c.mustOnePhase(c.again(first), "of a committed id for the first request")
			c.settles(first, dtc.Committed, "after another request was refused")
		},
	},
	{
		"a commit in one phase that is refused has no effect and never will",
		"The client is told that it was rolled back. It will do something else instead.",
		func(c *check) {
			if c.PayloadAbort == nil {
				c.Skipf("Subject.PayloadAbort is not set")
			}
			b := c.branch()
			b.Payload = c.PayloadAbort
			vote, err := c.onePhase(b)
			if vote != dtc.VoteAbort {
				c.Errorf("commit in one phase with PayloadAbort answered %v, %v; want vote_abort", vote, err)
			}
			c.effect(b, Effect{}, "a commit in one phase that was refused")
			if err != nil && !errors.Is(err, dtc.Refuse(nil)) {
				c.settles(b, dtc.RolledBack, "failed") // only this makes it final
			}
			b.Payload = c.Payload
			c.refusesOnePhase(b, "refused once")
			c.settles(phaseTwo(b), dtc.RolledBack, "refused twice")
			c.proves(c.log, b.TxID, dtc.XID{}, "refused")
		},
	},
	{
		"what was settled as rolled back stays so",
		"The client has been told. A copy of the call that was delayed must find the door shut, whether the branch was there before or not.",
		func(c *check) {
			b := c.branch()
			for range 2 {
				c.settles(b, dtc.RolledBack, "a branch that never came")
			}
			for range 2 {
				c.refusesOnePhase(b, "settled as rolled back")
			}
			c.settles(phaseTwo(b), dtc.RolledBack, "settled before, and refused since")
			c.reopen()
			c.settles(phaseTwo(b), dtc.RolledBack, "settled before, and asked about by a later incarnation")
			c.refusesOnePhase(b, "settled as rolled back twice")

			b = c.branch()
			c.settles(phaseTwo(b), dtc.RolledBack, "a branch that never came, without payload")
			c.refusesOnePhase(b, "settled as rolled back without payload")
		},
	},
	{
		"what was committed in one phase is settled as committed",
		"The answer was lost, and this is how the coordinator finds out. In a later incarnation it has no payload any more.",
		func(c *check) {
			b := c.committedInOne()
			for _, ask := range []dtc.Branch{b, phaseTwo(b), b, phaseTwo(b)} {
				c.settles(ask, dtc.Committed, "after a commit in one phase")
			}
			c.reopen()
			c.settles(phaseTwo(b), dtc.Committed, "committed by an earlier incarnation")
			c.mustOnePhase(b, "repeated after settle")
			c.effect(b, Effect{Applied: 1}, "committed, and settled")
		},
	},
	{
		"settle beside a commit in one phase says what is true",
		"When the call outlives its timeout, settle is sent beside it. Whatever it answers is told to the client, and must still hold when the call has ended.",
		func(c *check) {
			for range c.Rounds {
				b := c.branch()
				var outcome dtc.Outcome
				vote, err := beside(c.ctx, c.able(b), b, func() { outcome = c.settleOne(b) })
				want := 0
				switch outcome {
				case dtc.Committed:
					want = 1
				case dtc.RolledBack:
					if !isNoAnswer(err) && vote != dtc.VoteAbort {
						c.Errorf("settle answered rolled_back, and the commit beside it %v, %v", vote, err)
					}
					c.refusesOnePhase(b, "settled as rolled back beside the call")
				case dtc.Heuristic, dtc.OutcomeUnknown:
					c.Fatalf("settle beside a commit in one phase answered %v", outcome)
				}
				c.effect(b, Effect{Applied: want}, "settled as "+outcome.String()+" beside the call, which has returned")
				c.settles(phaseTwo(b), outcome, "settled before beside the call")
			}
		},
	},
	{
		"an id may run again after it was settled as rolled back",
		"What is shut is one attempt. The client may ask again under the same id, and then it must be done.",
		func(c *check) {
			b := c.branch()
			c.settles(b, dtc.RolledBack, "a branch that never came")
			next := c.again(b)
			c.mustOnePhase(next, "of an id whose first attempt was settled as rolled back")
			c.effect(next, Effect{Applied: 1}, "the second attempt, committed")
			c.proves(c.log, b.TxID, next.XID, "the second attempt was committed")
			if vote, err := c.onePhase(b); vote == dtc.VoteAbort && errors.Is(err, dtc.ErrTxConflict) {
				c.Errorf("the first attempt, late, was answered %v, %v: its request is the same", vote, err)
			}
			c.effect(b, Effect{}, "the first attempt, late")
			c.effect(next, Effect{Applied: 1}, "the second attempt, and then the first one late")
		},
	},
}
