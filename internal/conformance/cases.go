package conformance

import (
	"net/http"
	"strings"
)

var first = []scenario{
	{name: "reachable", title: "the participant answers", run: func(c *check) {
		a := c.persist(verbRollback, c.branch())
		switch {
		case a.err != nil:
			c.fail(a.sent, a.got(), "any answer of HTTP; is the URL right, and is it running?", whyUnreachable)
		case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
			c.fail(a.sent, a.got(), "that the calls are let in; --token-file or --cert-file says who calls", whyUnreachable)
		case !a.done() && strings.Contains(string(a.body), "branch"):
			c.fail(a.sent, a.got(), "a 2xx; does the service have another id than "+c.s.Participant+"? --participant says which", whyRollbackFails)
		case !a.done():
			c.fail(a.sent, a.got(), "a 2xx: the rollback of a branch never seen is acknowledged", whyRollbackFails)
		}
	}},
	{name: "vote", title: "a prepare with the given payload is answered vote_commit", run: func(c *check) {
		c.mustPrepare(c.branch())
	}},
	{name: "authorization", title: "calls without credentials are refused", needs: func(s *suite) string {
		if s.Authorize == nil {
			return "no credentials: give --token-file if the participant wants a token"
		}
		return ""
	}, run: func(c *check) {
		b := c.branch()
		for _, verb := range []string{verbPrepare, verbCommit, verbRollback} {
			header := http.Header{"Content-Type": {"application/json"}}
			a := c.send(c.ctx, http.MethodPost, c.s.base.JoinPath(verb), header, c.body(verb, b), false)
			if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				c.fail(a.sent+", without an Authorization header", a.got(), "401 or 403", whyAuth)
			}
		}
	}},
}

var repeats = []scenario{
	{name: "prepare-repeat", title: "a prepare that is repeated gets the same vote and has one effect", run: func(c *check) {
		c.unseen()
		before := c.look()
		b := c.prepared()
		after := c.look()
		for b.attempt = 2; b.attempt <= 3; b.attempt++ {
			c.prepare(b, voteCommit, "the same prepare again", whySameVote)
		}
		c.same(after, "the same prepare three times", whySecondEffect)
		c.listed(b, "after three prepares", whyListMisses)
		c.mustRollback(b)
		c.same(before, "three prepares and a rollback", whySecondEffect)
	}},
	{name: "commit-repeat", title: "a commit that is repeated is acknowledged and has one effect", run: func(c *check) {
		c.unseen()
		b := c.prepared()
		c.mustCommit(b)
		after := c.look()
		for b.attempt = 2; b.attempt <= 3; b.attempt++ {
			c.finish(verbCommit, b, "the same commit again", whyCommitAgain)
		}
		c.same(after, "the same commit three times", whySecondEffect)
		c.notListed(b, "prepared and committed", whyListTooMuch)
	}},
	{name: "rollback-repeat", title: "a rollback that is repeated is acknowledged and has one effect", run: func(c *check) {
		c.unseen()
		before := c.look()
		b := c.prepared()
		for b.attempt = 1; b.attempt <= 3; b.attempt++ {
			c.finish(verbRollback, b, "a rollback of what was prepared, and the same again", whyRollbackFails)
		}
		c.same(before, "a prepare and three rollbacks", whySecondEffect)
		c.notListed(b, "prepared and rolled back", whyListTooMuch)
	}},
	{name: "prepare-after-commit", title: "a prepare after the commit is answered as before and does nothing", run: func(c *check) {
		c.unseen()
		b := c.prepared()
		c.mustCommit(b)
		after := c.look()
		c.prepare(b, voteCommit, "a late copy of the prepare, after the commit", whySameVote)
		c.same(after, "a prepare after the commit", whySecondEffect)
		c.notListed(b, "committed, and prepared again", whyListTooMuch)
		c.finish(verbCommit, b, "a commit once more, after that", whyCommitAgain)
		c.same(after, "a prepare and a commit after the commit", whySecondEffect)
	}},
	{name: "abort", title: "a branch that votes vote_abort holds nothing and stays aborted", needs: func(s *suite) string {
		if s.AbortPayload == nil {
			return "give --abort-payload JSON, which it must refuse"
		}
		return ""
	}, run: func(c *check) { c.holdsNothing(c.s.AbortPayload, voteAbort) }},
	{name: "read-only", title: "a branch that votes read_only holds nothing and stays so", needs: func(s *suite) string {
		if s.ReadOnlyPayload == nil {
			return "give --read-only-payload JSON, if it ever votes read_only"
		}
		return ""
	}, run: func(c *check) { c.holdsNothing(c.s.ReadOnlyPayload, voteReadOnly) }},
}

func (c *check) holdsNothing(payload []byte, vote string) {
	c.unseen()
	before := c.look()
	b := c.branch()
	b.payload = payload
	c.must(c.prepare(b, vote, "a prepare with that payload", whyAbortHolds))
	c.prepare(b, vote, "the same prepare again", whySameVote)
	c.same(before, "a prepare voted "+vote, whyAbortHolds)
	if vote == voteAbort { // as if the goods had come in meanwhile
		again := b
		again.payload = c.s.Payload
		c.refuses(again, "voted vote_abort, and asked again when it could be done")
		c.same(before, "a prepare voted vote_abort, and asked again when it could be done", whyLatePrepare)
	}
	c.notListed(b, "voted "+vote, whyAbortHolds)
	c.finish(verbRollback, b, "a rollback of what voted "+vote, whyRollbackFails)
	c.same(before, "a rollback of what voted "+vote, whySecondEffect)
}

var lateCalls = []scenario{
	{name: "late-prepare", title: "after a rollback a late prepare is refused", run: func(c *check) {
		c.unseen()
		before := c.look()
		b := c.prepared()
		c.mustRollback(b)
		c.refuses(b, "prepared and rolled back")
		c.finish(verbRollback, b, "a rollback once more, after the late prepare", whyRollbackFails)
		c.same(before, "prepare, rollback, and a late prepare", whyLatePrepare)
	}},
	{name: "rollback-first", title: "a rollback of what it never saw is acknowledged, and its late prepare refused", run: func(c *check) {
		c.unseen()
		before := c.look()
		b := c.branch()
		c.mustRollback(b)
		c.finish(verbRollback, b, "the same rollback again", whyRollbackFails)
		c.same(before, "a rollback without a prepare", whySecondEffect)
		c.refuses(b, "rolled back before its prepare came")
		c.same(before, "a rollback, and the prepare that comes after it", whyLatePrepare)
		// An orphan is found in the list, and named by its XID alone.
		b = c.prepared()
		b.txID = ""
		c.finish(verbRollback, b, "a rollback with an empty tx_id: of a branch that only the list knew of", whyListMisses)
		c.notListed(b, "rolled back with an empty tx_id", whyListMisses)
	}},
	{name: "commit-unknown", title: "a commit of what it never prepared is not acknowledged", run: func(c *check) {
		c.unseen()
		before := c.look()
		b := c.branch()
		a := c.persist(verbCommit, b)
		if !a.unknown() {
			why := whyUnknownCommit
			if !a.done() {
				why = "Only 404 and 410 say \"I do not know it\": with them the coordinator shows people what to look for. Anything else looks like trouble that passes by itself."
			}
			c.fail(a.sent, a.got(), "404 or 410: the branch was never prepared", why)
		}
		c.same(before, "a commit without a prepare", whySecondEffect)
		c.notListed(b, "never prepared, but told to commit", whyListTooMuch)
	}},
	{name: "rollback-after-commit", title: "a rollback of what is committed is answered 409, state committed", run: func(c *check) {
		c.unseen()
		b := c.prepared()
		c.mustCommit(b)
		after := c.look()
		c.finishedAs(c.persist(verbRollback, b), "committed", false)
		c.same(after, "a rollback after the commit", whyOtherWay)
		c.finish(verbCommit, b, "a commit once more, after the rollback", whyCommitAgain)
	}},
	{name: "commit-after-rollback", title: "a commit of what is rolled back is answered 409, state rolled_back", run: func(c *check) {
		c.unseen()
		before := c.look()
		for _, first := range []branch{c.prepared(), c.branch()} {
			c.mustRollback(first)
			c.finishedAs(c.persist(verbCommit, first), "rolled_back", true)
		}
		c.same(before, "a commit after the rollback", whyOtherWay)
	}},
}

// finishedAs wants the answer that names how the branch has ended.
func (c *check) finishedAs(a answer, state string, orUnknown bool) {
	want := `409 {"state":"` + state + `"}`
	switch {
	case a.state() == state, orUnknown && a.unknown():
	case a.done():
		c.fail(a.sent, a.got(), want, whyOtherWay)
	default:
		c.fail(a.sent, a.got(), want, whyOtherWaySilent)
	}
}
