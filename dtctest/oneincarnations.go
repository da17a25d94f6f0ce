package dtctest

import (
	"fmt"

	"github.com/dtc-project/dtc"
)

// fences are the calls of a later incarnation that must shut out the earlier ones.
var fences = []struct {
	name string
	call func(c *check)
}{
	{"settle", func(c *check) { c.settles(c.branch(), dtc.RolledBack, "a branch that never came") }},
	{"commit in one phase", func(c *check) { c.committedInOne() }},
	{"prepare", func(c *check) { c.mustRollback(c.prepared()) }},
}

var onePromisesOfIncarnations = []promise{
	{
		"a commit in one phase of an earlier incarnation comes too late",
		"The coordinator died while the call was under way, and its log may know nothing of it. Once the next incarnation has been answered, it takes what has not happened for rolled back.",
		func(c *check) {
			for _, f := range fences {
				late, prepared, unsettled := c.branch(), c.prepared(), c.branch()
				c.reopen()
				f.call(c)
				after := "after a " + f.name + " of a later incarnation"
				c.refusesOnePhase(late, after)
				c.settles(phaseTwo(late), dtc.RolledBack, after)
				c.settles(phaseTwo(unsettled), dtc.RolledBack, after)
				c.refusesOnePhase(late, after+" and its settling")
				c.mustCommit(prepared)
				c.effect(prepared, Effect{Applied: 1}, "prepared by the earlier incarnation, committed "+after)

				next := c.again(late)
				c.mustOnePhase(next, "of the same id by the later incarnation")
				c.effect(next, Effect{Applied: 1}, "the later incarnation's attempt")
			}
		},
	},
	{
		"one id in two incarnations at the same time has the effect of one",
		"A call that outlived its coordinator meets the client's next attempt. Each may look first and write then.",
		func(c *check) {
			if c.Effect == nil {
				c.Skipf("Subject.Effect is not set")
			}
			for range c.Rounds {
				old := c.branch()
				c.reopen()
				next := c.again(old)
				_, _ = beside(c.ctx, c.able(old), old, func() {
					c.mustOnePhase(next, "beside the call of an earlier incarnation for the same id")
				})
				if n := c.applied(old, next); n != 1 {
					c.Fatalf("the work of one id can be seen done %d times after two incarnations called at the same time, want 1", n)
				}
				_, _ = c.onePhase(old)
				if n := c.applied(old, next); n != 1 {
					c.Fatalf("the work of one id can be seen done %d times after the earlier call came again, want 1", n)
				}
			}
		},
	},
	{
		"an id committed in one phase is not prepared by a later incarnation",
		"The client asks again, with one more participant perhaps, so that it takes two phases now. What is done must not be held and done a second time.",
		func(c *check) {
			first := c.committedInOne()
			c.reopen()
			b := c.again(first)
			for range 2 {
				if vote, err := c.prepare(b); vote != dtc.VoteReadOnly || err != nil {
					c.Errorf("prepare of an id that an earlier incarnation committed in one phase answered %v, %v; want read_only", vote, err)
				}
			}
			c.effect(b, Effect{}, "prepared, but committed in one phase before")
			if c.listed(c.log)[b.XID] {
				c.Errorf("an id that was committed in one phase and prepared again is in doubt")
			}
			c.mustRollback(b)
			c.effect(first, Effect{Applied: 1}, "committed in one phase, prepared again and rolled back")
		},
	},
	{
		"the evidence survives a restart, and so does what is shut",
		"The log waits for no write of its own in one phase. If the participant forgets too, nobody knows.",
		func(c *check) {
			done, shut, never := c.committedInOne(), c.branch(), c.branch()
			c.settles(shut, dtc.RolledBack, "a branch that never came")
			c.restart()
			c.settles(phaseTwo(done), dtc.Committed, "committed before a restart")
			c.proves(c.log, done.TxID, done.XID, "committed before a restart")
			c.mustOnePhase(done, "repeated after a restart")
			c.refusesOnePhase(shut, "settled as rolled back before a restart")

			c.reopen()
			c.settles(c.branch(), dtc.RolledBack, "a branch that never came")
			c.restart()
			c.refusesOnePhase(never, "a call of an earlier incarnation, after a restart")
			c.mustOnePhase(c.again(done), "of a committed id by a later incarnation after a restart")
			c.settles(phaseTwo(done), dtc.Committed, "committed before two restarts")
			c.effect(done, Effect{Applied: 1}, "committed before two restarts")
		},
	},
	{
		"the evidence outlives low water, and what is below it stays shut",
		"Rows go when low water passes them, but the same request may come again under a new XID as long as the coordinator keeps ids.",
		func(c *check) {
			done, shut, never := c.committedInOne(), c.branch(), c.branch()
			c.settles(shut, dtc.RolledBack, "a branch that never came")
			c.drop(c.later())
			c.settles(phaseTwo(done), dtc.Committed, "committed, then below low water")
			c.proves(c.log, done.TxID, done.XID, "committed, then below low water")
			again := c.again(done)
			c.mustOnePhase(again, "of a committed id below low water")
			c.effect(again, Effect{}, "its id was committed, and is below low water")
			c.refusesOnePhase(shut, "settled as rolled back, then below low water")
			c.refusesOnePhase(never, "below low water")
			if got := c.settleOne(phaseTwo(never)); got == dtc.Committed {
				c.Errorf("a branch below low water that was never committed is settled as committed")
			}
			c.effect(done, Effect{Applied: 1}, "committed, then below low water")
		},
	},
	{
		"prove names the XID under which an id was committed",
		"The coordinator asks by id, after a crash has taken its memory of it. A proof of what was not done hides a lost payment.",
		func(c *check) {
			seen := c.committedInOne()
			c.proves(c.log, seen.TxID, seen.XID, "committed in one phase")
			more := c.again(seen)
			c.mustOnePhase(more, "of a committed id under another XID")
			c.proves(c.log, seen.TxID, seen.XID, "committed, and asked for under another XID", more.XID)
			c.proves(c.log, c.branch().TxID, dtc.XID{}, "an id that never came")
			c.proves(randomLog(), seen.TxID, dtc.XID{}, "an id of another log")

			shut := c.branch()
			c.settles(shut, dtc.RolledBack, "a branch that never came")
			c.proves(c.log, shut.TxID, dtc.XID{}, "an id that was settled as rolled back")
			c.reopen()
			last := c.again(seen)
			c.mustOnePhase(last, "of an id that an earlier incarnation committed")
			c.proves(c.log, seen.TxID, seen.XID, "asked for by a later incarnation", more.XID, last.XID)
		},
	},
	{
		"the ids and incarnations of another log are left alone",
		"Two coordinators may share a participant, and their clients may choose the same ids.",
		func(c *check) {
			mine := c.committedInOne()
			theirs := c.branchAt(randomLog(), mine.XID.Seq)
			theirs.TxID = mine.TxID
			for range 3 {
				c.reopen()
			}
			c.committedInOne() // a much later incarnation, of this log
			c.mustOnePhase(theirs, "of an id that another log has committed")
			c.effect(theirs, Effect{Applied: 1}, "committed, and so was the same id of another log")
			c.proves(c.log, mine.TxID, mine.XID, "the same id of two logs")
			c.proves(theirs.XID.Log, mine.TxID, theirs.XID, "the same id of two logs")

			shut := c.branchAt(theirs.XID.Log, theirs.XID.Seq+1)
			c.settles(shut, dtc.RolledBack, "a branch that never came")
			open := c.branchAt(c.log, c.nextSeq())
			open.TxID = shut.TxID
			c.mustOnePhase(open, "of an id that another log has settled as rolled back")
			c.effect(open, Effect{Applied: 1}, "the same id of another log was settled as rolled back")
			c.settles(phaseTwo(shut), dtc.RolledBack, "the same id of another log was committed")
		},
	},
	{
		"two phases work beside one",
		"One participant serves both. What one of them shuts or forgets must not be the other's.",
		func(c *check) {
			held, gone := c.prepared(), c.prepared()
			for i := range 3 {
				one := c.committedInOne()
				c.settles(c.branch(), dtc.RolledBack, "a branch that never came")
				when := fmt.Sprintf("prepared, %d commits in one phase ago", i+1)
				c.effect(held, Effect{Held: true}, when)
				if list := c.listed(c.log); list != nil && (!list[held.XID] || list[one.XID]) {
					c.Errorf("the listing is %v; want what is prepared, and nothing committed in one phase", list)
				}
				if vote, err := c.prepare(held); vote != dtc.VoteCommit || err != nil {
					c.Errorf("%s: prepare repeated answered %v, %v; want vote_commit", when, vote, err)
				}
				c.reopen()
			}
			c.mustCommit(held)
			c.mustRollback(gone)
			c.mustCommit(held)
			c.effect(held, Effect{Applied: 1}, "prepared and committed beside commits in one phase")
			c.effect(gone, Effect{}, "prepared and rolled back beside commits in one phase")
			c.refusesPrepare(gone, "rolled back beside commits in one phase")
			c.proves(c.log, held.TxID, dtc.XID{}, "committed in two phases")
		},
	},
}
