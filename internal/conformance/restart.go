package conformance

import (
	"time"
)

var restarts = []scenario{
	{name: "restart", title: "what was prepared, finished or rolled back survives a kill", needs: func(s *suite) string {
		if s.Restart == nil {
			return "give --restart COMMAND. Not tried: that after a kill a prepared branch is listed, votes the same and commits, that a finished one stays finished, " +
				"that a late prepare is refused, and that low water is remembered"
		}
		return ""
	}, run: func(c *check) {
		c.unseen()
		one, two, done, over := c.prepared(), c.prepared(), c.prepared(), c.branch()
		c.mustCommit(done)
		c.mustRollback(over)
		before := c.look()
		c.mustRestart()
		c.same(before, "a kill and a new start", whyForgets)
		for _, b := range []branch{one, two} {
			c.listed(b, "prepared, then killed", whyForgets)
			c.prepare(b, voteCommit, "prepared, then killed, and asked again", whyForgets)
		}
		c.same(before, "a kill, a new start, and the same prepares again", whySecondEffect)
		c.finish(verbCommit, one, "prepared, then killed, and told to commit", whyForgets)
		c.finish(verbCommit, done, "committed, then killed, and told to commit again", whyCommitAgain)
		c.finish(verbRollback, two, "prepared, then killed, and rolled back", whyRollbackFails)
		c.refusesAfterKill(over, "rolled back before its prepare came, then killed")

		c.mustRestart()
		c.finish(verbCommit, one, "committed, then killed, and told to commit again", whyCommitAgain)
		c.finishedAs(c.persist(verbRollback, one), "committed", false)
		c.refusesAfterKill(two, "prepared, rolled back, then killed")
		for _, b := range []branch{one, two, done, over} {
			c.notListed(b, "finished, then killed", whyListTooMuch)
		}
	}},
	{name: "restart-low-water", title: "low water survives a kill as long as the rows that it replaced are gone", needs: func(s *suite) string {
		if s.Restart == nil {
			return "give --restart COMMAND"
		}
		return ""
	}, run: func(c *check) {
		over, gone, never := c.branch(), c.prepared(), c.branch()
		c.mustRollback(over)
		c.mustCommit(gone)
		c.pass(c.branch().xid)
		c.mustRestart()
		c.below(over, gone, never)
	}},
}

func (c *check) refusesAfterKill(b branch, when string) {
	a := c.persist(verbPrepare, b)
	if vote, err := a.vote(); err != nil || vote == voteCommit || vote == voteReadOnly {
		c.fail(a.sent, a.got(), when+": vote_abort, or a 4xx that is a definite no", whyForgetsRollback)
	}
}

// mustRestart kills the participant and waits until it answers again.
func (c *check) mustRestart() {
	if err := c.s.Restart(c.ctx); err != nil {
		c.fail("the command that restarts the participant", err.Error(), "that it works", "without it nothing after a restart can be tried")
		panic(stop{})
	}
	var a answer
	for end := time.Now().Add(c.s.Timeout); time.Now().Before(end) && c.ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if a = c.call(verbRollback, c.branch()); a.done() {
			return
		}
	}
	c.fail("a rollback after the restart, until it is acknowledged", a.got(), "a 2xx within "+c.s.Timeout.String(), whyUnreachable)
	panic(stop{})
}
