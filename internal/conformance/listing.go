package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/dtc-project/dtc"
)

var listings = []scenario{
	{name: "in-doubt", title: "the list has what is prepared, and nothing that is finished", needs: needsListing, run: func(c *check) {
		if l := c.list(0); len(l) > 0 {
			c.fail("a list of a log that no branch was ever of", fmt.Sprintf("%d branches", len(l)), "none", whyOtherLog)
		}
		held, done, over, tomb := c.prepared(), c.prepared(), c.prepared(), c.branch()
		c.mustCommit(done)
		c.mustRollback(over)
		c.mustRollback(tomb)
		c.listed(held, "prepared", whyListMisses)
		c.notListed(done, "committed", whyListTooMuch)
		c.notListed(over, "rolled back", whyListTooMuch)
		c.notListed(tomb, "rolled back before its prepare came", whyListTooMuch)
		c.mustCommit(held)
		c.notListed(held, "committed", whyListTooMuch)
	}},
	{name: "in-doubt-log", title: "the list is of the log that was asked for", needs: needsListing, run: func(c *check) {
		mine, other := c.prepared(), randomLog()
		theirs := c.at(other, 3, 1)
		c.mustPrepare(theirs)
		c.listed(mine, "prepared", whyListMisses)
		c.listed(theirs, "prepared", whyListMisses)
		c.notListedIn(theirs, c.log, "prepared for another log", whyOtherLog)
		c.notListedIn(mine, other, "prepared for another log", whyOtherLog)
	}},
	{name: "in-doubt-paging", title: "page by page the list is complete, and names nothing twice", needs: needsListing, run: func(c *check) {
		const n = 120 // more than a page by default
		all := c.branches(n)
		c.atOnce(8, func(worker int) {
			for i := worker; i < n; i += 8 {
				c.prepare(all[i], voteCommit, "a new branch", whyNoVote)
			}
		})
		c.must(len(c.findings) == 0)
		for _, limit := range []int{0, 1, 7, n, 1000} {
			c.wantAll(c.list(limit), all, fmt.Sprintf("%d branches prepared, listed with limit=%d (0: none given)", n, limit))
		}
	}},
	{name: "in-doubt-moving", title: "what finishes while the pages are read hides nothing", needs: needsListing, run: func(c *check) {
		all := c.branches(12)
		for _, b := range all {
			c.mustPrepare(b)
		}
		seen := map[dtc.XID]bool{}
		finished := map[dtc.XID]bool{}
		c.pages(3, func(page []dtc.XID) {
			for _, x := range page {
				seen[x] = true
			}
			for i, b := range all { // one that was listed, before the next page is asked for
				if seen[b.xid] && !finished[b.xid] {
					finished[b.xid] = true
					c.finish([]string{verbCommit, verbRollback}[i%2], b, "a prepared branch", whyCommitFails)
					break
				}
			}
		})
		for _, b := range all {
			if !finished[b.xid] && !seen[b.xid] {
				c.fail("the list in pages of 3, with a branch of the page before finished between two pages", "without "+b.xid.String(),
					"every branch that was prepared all the time: continue after the last name, not after a count", whyListMisses)
				return
			}
		}
	}},
}

func (c *check) wantAll(list []dtc.XID, all []branch, when string) {
	got := map[dtc.XID]bool{}
	for _, x := range list {
		got[x] = true
	}
	for _, b := range all {
		if !got[b.xid] {
			c.fail(when, fmt.Sprintf("%d of them, without %s", len(list), b.xid), "all of them", whyListMisses)
			return
		}
		delete(got, b.xid)
	}
	if len(got) > 0 {
		c.fail(when, fmt.Sprintf("%d more", len(got)), "those and no others", whyListTooMuch)
	}
}

// listed wants a branch in the list, if there is one.
func (c *check) listed(b branch, when, why string) {
	if !c.s.listing {
		return
	}
	if !c.in(b, b.xid.Log) {
		c.fail(when+", and the list of its log", "a list without "+b.xid.String(), "a list with it", why)
	}
}

// notListed wants a branch out of the list, if there is one.
func (c *check) notListed(b branch, when, why string) {
	c.notListedIn(b, b.xid.Log, when, why)
}

func (c *check) notListedIn(b branch, log dtc.LogID, when, why string) {
	if c.s.listing && c.in(b, log) {
		c.fail(when+", and the list of log "+log.String(), "a list with "+b.xid.String(), "a list without it", why)
	}
}

func (c *check) in(b branch, log dtc.LogID) (found bool) {
	c.pagesOf(log, 0, func(page []dtc.XID) {
		for _, x := range page {
			found = found || x == b.xid
		}
	})
	return found
}

func (c *check) list(limit int) (all []dtc.XID) {
	c.pages(limit, func(page []dtc.XID) { all = append(all, page...) })
	return all
}

func (c *check) pages(limit int, each func([]dtc.XID)) { c.pagesOf(c.log, limit, each) }

// pagesOf reads a list page by page, and notes what is wrong with how it is worded.
func (c *check) pagesOf(log dtc.LogID, limit int, each func([]dtc.XID)) {
	seen, cursors := map[dtc.XID]bool{}, map[string]bool{}
	for after := ""; ; {
		a := c.ask(log, limit, after)
		for range 4 {
			if !a.silence() || a.status == http.StatusNotImplemented {
				break
			}
			a = c.ask(log, limit, after)
		}
		page, next, err := c.page(a, log, limit)
		for _, x := range page {
			if seen[x] && err == nil {
				err = fmt.Errorf("each branch once; %s stands in it twice", x)
			}
			seen[x] = true
		}
		if err == nil && cursors[next] {
			err = fmt.Errorf("a cursor that leads on; %q came before", next)
		}
		if err != nil {
			c.fail(a.sent, a.got(), err.Error(), whyListWords)
			panic(stop{})
		}
		each(page)
		if next == "" {
			return
		}
		cursors[next] = true
		after = next
	}
}

// page reads one page; the error says what is wanted.
func (c *check) page(a answer, log dtc.LogID, limit int) (page []dtc.XID, next string, err error) {
	if a.err != nil || a.status != http.StatusOK {
		return nil, "", fmt.Errorf(`200 {"branches":[…],"next":…,"complete":…}; 404, 405 or 501 if it does not list at all`)
	}
	members, err := object(a.body)
	if err != nil {
		return nil, "", fmt.Errorf("a JSON object with branches, next and complete; but %w", err)
	}
	if n := members["next"]; len(n) > 0 && string(n) != "null" {
		var ok bool
		if next, ok = text(n); !ok {
			return nil, "", fmt.Errorf("next as a string, or null on the last page")
		}
	}
	var entries []json.RawMessage
	switch {
	case len(members["branches"]) == 0 || members["branches"][0] != '[' || json.Unmarshal(members["branches"], &entries) != nil:
		return nil, "", fmt.Errorf("branches as an array, empty if there are none")
	case next == "" && string(members["complete"]) != "true":
		return nil, "", fmt.Errorf(`"complete":true on the last page: otherwise nobody knows that the list ends there`)
	case next != "" && string(members["complete"]) == "true":
		return nil, "", fmt.Errorf(`"complete":true on the last page only`)
	case limit > 0 && len(entries) > limit:
		return nil, "", fmt.Errorf("at most %d branches: limit says so", limit)
	}
	for _, e := range entries {
		x, err := c.entry(e, log)
		if err != nil {
			return nil, "", err
		}
		page = append(page, x)
	}
	return page, next, nil
}

func (c *check) entry(e json.RawMessage, log dtc.LogID) (dtc.XID, error) {
	members, err := object(e)
	if err != nil {
		return dtc.XID{}, fmt.Errorf("objects in branches; but %w", err)
	}
	xid, _ := text(members["xid"])
	x, err := dtc.ParseXID(xid)
	switch {
	case err != nil:
		return x, fmt.Errorf("an xid as it came in the prepare, not %s", shorten(string(members["xid"]), 80))
	case x.Log != log:
		return x, fmt.Errorf("branches of log %s only, not %s", log, x)
	}
	if name, _ := text(members["branch"]); name != c.s.Participant {
		return x, fmt.Errorf("branch as it came in the prepare, %q, not %s", c.s.Participant, shorten(string(members["branch"]), 80))
	}
	if at := members["prepared_at"]; len(at) > 0 && string(at) != "null" {
		s, _ := text(at)
		if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
			return x, fmt.Errorf("prepared_at as a time of RFC 3339, like 2026-01-31T12:00:00.000Z, not %s", shorten(string(at), 80))
		}
	}
	return x, nil
}
