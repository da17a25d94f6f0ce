package conformance

import (
	"context"
	"fmt"
)

const (
	copies = 8
	rounds = 8
)

var races = []scenario{
	{name: "concurrent-prepare", title: "copies of a prepare at the same time get one vote and have one effect", run: func(c *check) {
		c.unseen()
		start := c.look()
		one := c.prepared()
		afterOne := c.look()
		for range rounds {
			before := c.look()
			b := c.branch()
			c.atOnce(copies, func(int) {
				c.prepare(b, voteCommit, fmt.Sprintf("each of %d prepares of one branch at the same time", copies), whySameVote)
			})
			c.must(c.prepare(b, voteCommit, "the same prepare again, afterwards", whySameVote))
			c.sameStep(start, afterOne, before, c.look(), fmt.Sprintf("%d prepares of one branch at the same time", copies), whyRace)
			c.mustRollback(b)
			c.same(before, fmt.Sprintf("%d prepares of one branch at the same time, and a rollback", copies), whyRace)
		}
		c.mustRollback(one)
	}},
	{name: "concurrent-commit", title: "copies of a commit at the same time have one effect", run: func(c *check) {
		c.unseen()
		start := c.look()
		c.mustCommit(c.prepared())
		afterOne := c.look()
		for range rounds {
			before := c.look()
			b := c.prepared()
			c.atOnce(copies, func(int) {
				c.finish(verbCommit, b, fmt.Sprintf("each of %d commits of one branch at the same time", copies), whyCommitAgain)
			})
			c.sameStep(start, afterOne, before, c.look(), fmt.Sprintf("%d commits of one branch at the same time", copies), whyRace)
			c.notListed(b, "committed", whyListTooMuch)
		}
	}},
	{name: "rollback-beside-prepare", title: "a rollback that overtakes its prepare leaves nothing behind", run: func(c *check) {
		c.unseen()
		before := c.look()
		for range rounds {
			b := c.branch()
			c.atOnce(2, func(i int) {
				if i == 0 {
					c.persist(verbPrepare, b)
					return
				}
				c.finish(verbRollback, b, "a rollback beside the prepare of the same branch", whyRollbackFails)
			})
			c.notListed(b, "a rollback beside its prepare, acknowledged, and the prepare answered", whyRace)
			c.refuses(b, "a rollback beside its prepare, acknowledged")
		}
		c.same(before, "rollbacks beside prepares", whyRace)
	}},
	{name: "concurrent-branches", title: "different branches at the same time do not disturb one another", run: func(c *check) {
		c.unseen()
		before := c.look()
		all := c.branches(32)
		c.atOnce(len(all), func(i int) { c.prepare(all[i], voteCommit, "one of 32 different branches at the same time", whyNoVote) })
		for _, b := range all {
			c.listed(b, "one of 32 branches prepared at the same time", whyListMisses)
		}
		c.atOnce(len(all), func(i int) {
			c.finish(verbRollback, all[i], "one of 32 prepared branches, at the same time", whyRollbackFails)
		})
		c.same(before, "32 branches prepared at the same time and rolled back", whyRace)
	}},
	{name: "hang-up", title: "a caller that goes away in the middle of a prepare may ask again", run: func(c *check) {
		c.unseen()
		before := c.look()
		for range rounds {
			b := c.branch()
			ctx, cancel := context.WithCancel(c.ctx)
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.post(ctx, verbPrepare, b, c.body(verbPrepare, b))
			}()
			c.call(verbRollback, c.branch()) // for about as long as a call takes
			cancel()
			<-done
			c.prepare(b, voteCommit, "the same prepare again, after a caller that hung up", whySameVote)
			c.mustRollback(b)
		}
		c.same(before, "prepares whose callers hung up, prepared again and rolled back", whyRace)
	}},
}
