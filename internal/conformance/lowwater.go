package conformance

import "github.com/dtc-project/dtc"

var lowWaters = []scenario{
	{name: "low-water", title: "below low water what comes late is refused or acknowledged, and does nothing", run: func(c *check) {
		c.unseen()
		over, gone, never := c.branch(), c.prepared(), c.branch()
		c.mustRollback(over)
		c.mustCommit(gone)
		before := c.look()
		c.pass(c.branch().xid)
		c.below(over, gone, never)
		c.same(before, "late calls below low water", whyLowWaterRefuse)
		if c.stands(over) {
			c.skip("whether rows below low water go: after some hundred finished branches the first still stands. It may be dropped later; if it never is, the table grows for ever")
		}
	}},
	{name: "low-water-prepared", title: "a prepared branch below low water stays, and where a row stands it answers", run: func(c *check) {
		c.unseen()
		b := c.prepared()
		held := c.look()
		c.pass(c.branch().xid)
		c.same(held, "low water passing a prepared branch", whyLowWaterHeld)
		c.prepare(b, voteCommit, "the same prepare again, below low water", whyLowWaterHeld)
		c.listed(b, "prepared, below low water", whyLowWaterHeld)
		c.finish(verbCommit, b, "a commit of what is prepared, below low water", whyLowWaterHeld)
		c.notListed(b, "committed below low water", whyListTooMuch)
	}},
	{name: "low-water-order", title: "low water compares numbers, not text", run: func(c *check) {
		low := c.at(c.log, 9, 11)
		for _, seq := range []uint64{2, 9, 10} {
			c.mustRollback(c.at(c.log, 9, seq))
		}
		c.seq = 1000
		c.passWith(low.xid, func(i uint64) branch { return c.at(c.log, 9, 1000+i) })
		for _, seq := range []uint64{2, 9, 10} {
			c.refuses(c.at(c.log, 9, seq), "low water "+low.xid.String()+" has passed it")
		}
		for _, b := range []branch{low, c.at(c.log, 9, 100), c.at(c.log, 10, 1), c.at(c.log, 10, 9)} {
			b.lowWater = low.xid
			c.prepare(b, voteCommit, "a new branch that is not below low water "+low.xid.String(), whyLowWaterOrder)
		}
	}},
	{name: "low-water-other-log", title: "low water of one log says nothing about another", run: func(c *check) {
		mine, other := c.prepared(), randomLog()
		theirs := c.at(other, 3, mine.xid.Seq)
		c.must(c.prepare(theirs, voteCommit, "a branch of another log with the same numbers", whyOtherLog))
		c.pass(c.branches(10)[9].xid)
		low := c.at(other, 3, mine.xid.Seq+1)
		c.prepare(low, voteCommit, "a new branch of another log, below the low water of the first", whyOtherLog)
		c.mustCommit(mine)
		c.listed(theirs, "prepared, after a branch of another log with the same numbers was committed", whyOtherLog)
		c.finish(verbRollback, theirs, "a rollback, after a branch of another log with the same numbers was committed", whyOtherLog)
	}},
}

// below checks three branches below low water: one rolled back, one committed, one
// never seen.
func (c *check) below(over, gone, never branch) {
	c.refuses(over, "rolled back, and below low water")
	c.refuses(never, "never seen, and below low water")
	for _, b := range []branch{gone, never} {
		c.finish(verbCommit, b, "a late commit below low water", whyLowWaterAck)
	}
	for _, b := range []branch{over, never} {
		c.finish(verbRollback, b, "a late rollback below low water", whyLowWaterAck)
	}
	// Where the row stands the vote is as before, where it is gone it is a no.
	a := c.persist(verbPrepare, gone)
	if vote, err := a.vote(); err != nil || vote == voteReadOnly {
		c.fail(a.sent, a.got(), "a late prepare of what was committed, below low water: vote_commit, or a no", whyLowWaterRefuse)
	}
	c.notListed(gone, "committed, below low water, and prepared late", whyLowWaterRefuse)
}

// pass raises low water, with more finished branches than a participant can be
// expected to wait for before it drops rows.
func (c *check) pass(low dtc.XID) {
	c.passWith(low, func(uint64) branch { return c.branch() })
}

func (c *check) passWith(low dtc.XID, next func(i uint64) branch) {
	const calls, at = 320, 8
	failed := make([]bool, at)
	c.atOnce(at, func(worker int) {
		for i := range calls / at {
			b := next(uint64(worker*calls/at + i))
			b.lowWater = low
			if !c.finish(verbRollback, b, "a branch that was not committed", whyRollbackFails) || c.ctx.Err() != nil {
				failed[worker] = true
				return
			}
		}
	})
	for _, f := range failed {
		c.must(!f)
	}
}

// stands reports whether the participant still knows that it rolled b back.
func (c *check) stands(b branch) bool {
	return c.call(verbCommit, b).state() == "rolled_back"
}
