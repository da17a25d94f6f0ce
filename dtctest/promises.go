package dtctest

import (
	"errors"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
)

var promises = []promise{
	{
		"a prepare that is repeated gets the same vote and has the effect of one",
		"The coordinator asks again whenever an answer is lost. A second vote that differs is a violation; a second effect is money reserved twice.",
		func(c *check) {
			b := c.prepared()
			for range 2 {
				if vote, err := c.prepare(b); vote != dtc.VoteCommit || err != nil {
					c.Errorf("prepare repeated answered %v, %v; want vote_commit as the first time", vote, err)
				}
			}
			c.effect(b, Effect{Held: true}, "after three prepares")
			c.mustCommit(b)
			c.effect(b, Effect{Applied: 1}, "after three prepares and a commit")
		},
	},
	{
		"a commit that is repeated has the effect of one",
		"Commit is sent until it is acknowledged, also after a restart of either side. A second effect is money moved twice.",
		func(c *check) {
			b := c.prepared()
			for range 3 {
				c.mustCommit(b)
			}
			c.effect(b, Effect{Applied: 1}, "after three commits")
			if vote, err := c.prepare(b); vote != dtc.VoteCommit || err != nil {
				c.Errorf("a late copy of the prepare answered %v, %v; want vote_commit as the first time", vote, err)
			}
			c.effect(b, Effect{Applied: 1}, "after three commits and a late prepare")
		},
	},
	{
		"a rollback that is repeated succeeds and has the effect of one",
		"Rollback is sent until it is acknowledged. What was reserved must be free, once.",
		func(c *check) {
			b := c.prepared()
			for range 3 {
				c.mustRollback(b)
			}
			c.effect(b, Effect{}, "after three rollbacks")
			if c.listed(c.log)[b.XID] {
				c.Errorf("a branch that was rolled back is still listed as in doubt")
			}
		},
	},
	{
		"after a rollback a late prepare is refused",
		"A delayed copy of a prepare would hold what it reserved for ever: the transaction is over, nobody will come to finish it.",
		func(c *check) {
			b := c.prepared()
			c.mustRollback(b)
			c.refusesPrepare(b, "after prepare and rollback")

			b = c.branch()
			c.mustRollback(b)
			c.refusesPrepare(b, "after a rollback that came before it")
			c.mustRollback(b)
		},
	},
	{
		"a rollback that overtakes its prepare leaves nothing behind",
		"When a prepare times out, the rollback is sent beside it. Whichever the participant does first, once the rollback is acknowledged nothing may be held.",
		func(c *check) {
			for range c.Rounds {
				b := c.branch()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = c.Participant.Prepare(c.ctx, b)
				}()
				err := c.rollback(b)
				<-done
				if err != nil {
					c.Fatalf("rollback beside a prepare answered: %v", err)
				}
				c.effect(b, Effect{}, "after a rollback beside the prepare was acknowledged and the prepare has returned")
				if c.listed(c.log)[b.XID] {
					c.Fatalf("the branch is in doubt although its rollback was acknowledged")
				}
			}
		},
	},
	{
		"a commit of an unknown branch is never acknowledged",
		"An acknowledgement lets the coordinator forget. If the participant was restored from a backup and lost the branch, that would hide a lost payment.",
		func(c *check) {
			b := c.branch()
			err := c.commit(b)
			var finished *dtc.FinishedError
			switch {
			case err == nil:
				c.Errorf("commit of a branch that was never prepared was acknowledged; want dtc.ErrUnknownBranch")
			case errors.As(err, &finished) && finished.Outcome == dtc.RolledBack:
				// It may say so if it makes it true: nothing comes of the branch any more.
				if vote, _ := c.prepare(b); vote != dtc.VoteAbort {
					c.Errorf("commit of a branch that was never prepared answered %v, and then its prepare was answered %v", err, vote)
				}
			case errors.As(err, &finished):
				c.Errorf("commit of a branch that was never prepared answered %v, which claims to know it", err)
			}
			c.effect(b, Effect{}, "after a commit without prepare")
		},
	},
	{
		"what finished one way does not finish the other way",
		"The second order is somebody's mistake, and has to be heard of: acknowledged, it would hide that the transaction was torn.",
		func(c *check) {
			b := c.prepared()
			c.mustCommit(b)
			if err := c.rollback(b); err == nil {
				c.Errorf("rollback of a committed branch was acknowledged; want a *dtc.FinishedError")
			}
			c.effect(b, Effect{Applied: 1}, "after commit and rollback")

			b = c.prepared()
			c.mustRollback(b)
			if err := c.commit(b); err == nil {
				c.Errorf("commit of a branch that was rolled back was acknowledged; want a *dtc.FinishedError")
			}
			c.effect(b, Effect{}, "after rollback and commit")
		},
	},
	{
		"a branch voted abort holds nothing and stays aborted",
		"The coordinator need not tell it anything any more. What it holds, it holds for ever; and a vote that changes is a violation.",
		func(c *check) { c.votesAndHoldsNothing(c.PayloadAbort, "PayloadAbort", dtc.VoteAbort) },
	},
	{
		"a branch voted read-only holds nothing and stays read-only",
		"It is left out of phase two. What it holds, it holds for ever.",
		func(c *check) { c.votesAndHoldsNothing(c.PayloadReadOnly, "PayloadReadOnly", dtc.VoteReadOnly) },
	},
	{
		"prepared work survives a restart, and so do the votes",
		"After vote_commit the others may already have committed. A participant that forgets its vote in a crash tears the transaction.",
		func(c *check) {
			if c.Restart == nil {
				c.Skipf("Subject.Restart is not set")
			}
			one, two, over := c.prepared(), c.prepared(), c.branch()
			c.mustRollback(over)
			p, err := c.Restart()
			if err != nil {
				c.Fatalf("restart: %v", err)
			}
			c.Participant = p
			if vote, err := c.prepare(one); vote != dtc.VoteCommit || err != nil {
				c.Errorf("prepare repeated after a restart answered %v, %v; want vote_commit as before", vote, err)
			}
			c.effect(one, Effect{Held: true}, "after prepare and restart")
			c.refusesPrepare(over, "rolled back before a restart")
			c.mustCommit(one)
			c.mustRollback(two)
			c.effect(one, Effect{Applied: 1}, "after prepare, restart and commit")
			c.effect(two, Effect{}, "after prepare, restart and rollback")
		},
	},
	{
		"the listing of what is in doubt is complete",
		"A crash may lose the coordinator's own record of a branch. Then only the listing knows of it: a branch that is missing holds its locks for ever.",
		func(c *check) {
			c.lister()
			want := map[dtc.XID]bool{}
			for i := range 25 {
				b := c.prepared()
				switch i % 5 {
				case 0:
					c.mustCommit(b)
				case 1:
					c.mustRollback(b)
				default:
					want[b.XID] = true
				}
			}
			c.mustRollback(c.branch()) // a tombstone is not in doubt
			got := c.listed(c.log)
			for x := range want {
				if !got[x] {
					c.Errorf("%s is prepared but not listed", x)
				}
			}
			for x := range got {
				if !want[x] {
					c.Errorf("%s is listed but not prepared", x)
				}
			}
		},
	},
	{
		"copies of one call at the same time have the effect of one",
		"A retry may overtake the call it repeats. Both must not find that nobody was there before.",
		func(c *check) {
			for range c.Rounds {
				b := c.branch()
				c.atOnce(func() {
					vote, err := c.Participant.Prepare(c.ctx, b)
					if !isNoAnswer(err) && (vote != dtc.VoteCommit || err != nil) {
						c.Errorf("one of several prepares at once answered %v, %v; want vote_commit", vote, err)
					}
				})
				c.mustPrepare(b)
				c.effect(b, Effect{Held: true}, "after prepares at the same time")
				c.atOnce(func() { _ = c.Participant.Commit(c.ctx, phaseTwo(b)) })
				c.mustCommit(b)
				c.effect(b, Effect{Applied: 1}, "after commits at the same time")
			}
		},
	},
	{
		"low water drops finished branches only, and refuses what comes late below it",
		"Rows are dropped so that they do not grow for ever. A prepared row that goes is a lost vote; a dropped tombstone that nothing replaces lets a late prepare in.",
		func(c *check) {
			held, over, gone := c.prepared(), c.branch(), c.prepared()
			c.mustRollback(over)
			c.mustCommit(gone)
			c.drop(c.later())
			c.refusesPrepare(over, "rolled back, then dropped below low water")
			if vote, err := c.prepare(gone); isNoAnswer(err) || vote == dtc.VoteReadOnly {
				c.Errorf("a late prepare of a committed branch below low water answered %v, %v", vote, err)
			}
			c.effect(gone, Effect{Applied: 1}, "committed, dropped below low water, and prepared once more")
			if err := c.commit(gone); err != nil {
				c.Errorf("a late commit of a finished branch below low water answered: %v; want an acknowledgement", err)
			}
			c.mustRollback(over)
			c.effect(gone, Effect{Applied: 1}, "committed, dropped below low water, and committed once more")

			if vote, err := c.prepare(held); vote != dtc.VoteCommit || err != nil {
				c.Errorf("a prepared branch below low water was asked again and answered %v, %v; want vote_commit: where a row stands it answers", vote, err)
			}
			c.effect(held, Effect{Held: true}, "prepared, below low water")
			if list := c.listed(c.log); list != nil && !list[held.XID] {
				c.Errorf("a prepared branch below low water is not listed any more")
			}
			c.mustCommit(held)
			c.effect(held, Effect{Applied: 1}, "prepared, committed below low water")
		},
	},
	{
		"rows below low water go",
		"Otherwise the participant keeps a row for every branch that ever was.",
		func(c *check) {
			if c.Rows == nil {
				c.Skipf("Subject.Rows is not set")
			}
			for i := range 40 {
				b := c.prepared()
				if i%2 == 0 {
					c.mustCommit(b)
				} else {
					c.mustRollback(b)
				}
			}
			before, err := c.Rows(c.log)
			if err != nil {
				c.Fatalf("counting rows: %v", err)
			}
			if before < 40 {
				c.Errorf("%d rows stand for 40 branches above low water: finished branches were dropped too early", before)
			}
			c.drop(c.later())
			after, most := 0, before-40+300
			if c.Prune != nil {
				most = before - 40 + 1
			}
			// What drops them by itself may do so beside the calls, and be at it now.
			for deadline := time.Now().Add(c.Timeout / 10); ; time.Sleep(10 * time.Millisecond) {
				if after, err = c.Rows(c.log); err != nil {
					c.Fatalf("counting rows: %v", err)
				}
				if after <= most || c.Prune != nil || time.Now().After(deadline) {
					break
				}
			}
			if after > most {
				c.Errorf("%d rows before and %d after low water had passed 40 of them", before, after)
			}
		},
	},
	{
		"the branches of another log are left alone",
		"Two coordinators may share a participant. Low water, listing and names of one say nothing about the other.",
		func(c *check) {
			mine := c.prepared()
			other := randomLog()
			theirs := c.branchAt(other, mine.XID.Seq)
			if vote, err := c.prepare(theirs); vote != dtc.VoteCommit || err != nil {
				c.Fatalf("a branch of another log with the same number answered %v, %v; want vote_commit", vote, err)
			}
			c.seq += 10 // so that low water passes the number used next
			c.drop(c.later())
			low := c.branchAt(other, mine.XID.Seq+1)
			if vote, err := c.prepare(low); vote != dtc.VoteCommit || err != nil {
				c.Errorf("a new branch of another log, below this log's low water, answered %v, %v; want vote_commit", vote, err)
			}
			if list := c.listed(other); list != nil && (!list[theirs.XID] || !list[low.XID] || list[mine.XID]) {
				c.Errorf("the listing of the other log is %v; want its own two branches", list)
			}
			c.mustCommit(mine)
			c.effect(theirs, Effect{Held: true}, "after the commit of another log's branch with the same number")
			c.mustRollback(theirs)
			c.mustRollback(low)
			c.effect(mine, Effect{Applied: 1}, "after the rollback of another log's branch with the same number")
		},
	},
}

// refusesPrepare sends a prepare that must come too late, and checks that it
// leaves nothing.
func (c *check) refusesPrepare(b dtc.Branch, when string) {
	c.Helper()
	vote, err := c.prepare(b)
	if vote != dtc.VoteAbort {
		c.Errorf("%s: a late prepare was answered %v, %v; want vote_abort", when, vote, err)
	}
	c.effect(b, Effect{}, when+", and a late prepare")
	if c.listed(c.log)[b.XID] {
		c.Errorf("%s: a late prepare is in doubt now", when)
	}
}

func (c *check) votesAndHoldsNothing(payload []byte, field string, want dtc.Vote) {
	c.Helper()
	if payload == nil {
		c.Skipf("Subject.%s is not set", field)
	}
	b := c.branch()
	b.Payload = payload
	for _, when := range []string{"the first time", "repeated"} {
		if vote, err := c.prepare(b); vote != want {
			c.Errorf("prepare %s answered %v, %v; want %v", when, vote, err, want)
		}
	}
	c.effect(b, Effect{}, "after "+want.String())
	if c.listed(c.log)[b.XID] {
		c.Errorf("a branch that voted %v is in doubt", want)
	}
	c.mustRollback(b)
	c.effect(b, Effect{}, "after "+want.String()+" and rollback")
	if vote, err := c.prepare(b); vote == dtc.VoteCommit {
		c.Errorf("a late prepare after %v and rollback answered %v, %v", want, vote, err)
	}
	c.effect(b, Effect{}, "after "+want.String()+", rollback and a late prepare")
}

// atOnce makes four calls at the same time.
func (c *check) atOnce(call func()) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			<-start
			call()
		})
	}
	close(start)
	wg.Wait()
}
