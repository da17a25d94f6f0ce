package dtchttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/dtc-project/dtc"
)

// controlStates are the words that may be asked for.
var controlStates = []string{"active", "preparing", "committing", "rolling_back", "committed", "rolled_back", "heuristic"}

func controlBranchField(i int) string { return "branches[" + strconv.Itoa(i) + "].participant" }

// controlQuery reads the parameters of a question, and the size of a page among them.
// One that cannot be read is an error: left out, it would select everything.
func controlQuery(raw string, known ...string) (values url.Values, limit int, trouble *partProblem) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, 0, controlBad("", "the query cannot be read: %v", err)
	}
	for name, v := range values {
		if !slices.Contains(known, name) {
			return nil, 0, controlBad(name, "the parameter %q is not known here", partShorten(name, 64))
		}
		if len(v) > 1 {
			return nil, 0, controlBad(name, "%s is given more than once", name)
		}
	}
	s := values.Get("limit")
	if s == "" {
		return values, controlPage, nil
	}
	limit, err = strconv.Atoi(s)
	if err != nil || limit < 1 || limit > controlMaxPage {
		return nil, 0, controlBad("limit", "limit must be a number from 1 to %d", controlMaxPage)
	}
	return values, limit, nil
}

// list answers with the transactions that are not finished everywhere, newest first;
// asked for an outcome, with those that have it.
func (h *ControlHandler) list(c *controlCall) *partProblem {
	values, limit, trouble := controlQuery(c.r.URL.RawQuery, "state", "participant", "limit", "after")
	if trouble != nil {
		return trouble
	}
	f := dtc.Filter{State: values.Get("state"), Participant: values.Get("participant")}
	if f.State != "" && !slices.Contains(controlStates, f.State) {
		return controlBad("state", "state must be one of %v", controlStates)
	}
	if f.Participant != "" && partCheckID(f.Participant) != nil {
		return controlBad("participant", "participant must be 1 to %d characters of [A-Za-z0-9._-]", partMaxID)
	}
	if s := values.Get("after"); s != "" {
		x, err := dtc.ParseXID(s)
		if err != nil || x.Log != c.ID() { // in another log nothing is older, which would look like the last page
			return controlBad("after", "after must be what next was in an earlier page of this coordinator; begin again without it")
		}
		f.Before = x
	}
	answer := struct {
		Transactions []json.RawMessage `json:"transactions"`
		Next         *string           `json:"next"`
	}{Transactions: []json.RawMessage{}}
	since := c.RememberedSince()
	var last string
	bytes := 0
	for info := range c.Transactions(f) {
		// Branches that the sweep found share the XID of their transaction; a page
		// ends between two XIDs.
		x := info.XID.String()
		text, err := json.Marshal(newTransaction(info, since))
		if err != nil { // it holds strings, numbers and times of our own
			return partTrouble(http.StatusInternalServerError, "internal", err.Error())
		}
		n := len(answer.Transactions)
		if full := n >= limit || n > 0 && bytes+len(text) > controlPageBytes; full && x != last {
			answer.Next = &last
			break
		}
		answer.Transactions, last = append(answer.Transactions, text), x
		bytes += len(text)
	}
	partWrite(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// participants answers with the participants, by id.
func (h *ControlHandler) participants(c *controlCall) *partProblem {
	values, limit, trouble := controlQuery(c.r.URL.RawQuery, "limit", "after")
	if trouble != nil {
		return trouble
	}
	after := values.Get("after")
	if after != "" && partCheckID(after) != nil {
		return controlBad("after", "after must be what next was in an earlier page")
	}
	answer := struct {
		Participants []ParticipantStatus `json:"participants"`
		Next         *string             `json:"next"`
	}{Participants: []ParticipantStatus{}}
	for _, p := range c.Participants() {
		if p.ID <= after {
			continue
		}
		if n := len(answer.Participants); n >= limit {
			answer.Next = &answer.Participants[n-1].ID
			break
		}
		status := ParticipantStatus{
			ID: p.ID, Listing: p.Listing, State: p.State, InDoubt: p.Unfinished,
			OldestInDoubt: newTime(p.Oldest), Orphans: p.Orphans, LastError: p.LastError,
		}
		if h.o.Describe != nil && p.Registered {
			status.Kind, status.URL = h.o.Describe(p.ID)
		}
		answer.Participants = append(answer.Participants, status)
	}
	partWrite(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// decision answers a participant that asks what became of its branch.
func (h *ControlHandler) decision(c *controlCall) *partProblem {
	x, err := dtc.ParseXID(c.args["xid"])
	if err != nil {
		return controlBad("xid", "the path names no transaction of a coordinator")
	}
	participant := c.args["participant"]
	if partCheckID(participant) != nil {
		return controlBad("participant", "participant must be 1 to %d characters of [A-Za-z0-9._-]", partMaxID)
	}
	if own := c.caller.Participant; own != "" && own != participant && !c.caller.has([]Role{RoleObserver}) {
		return partTrouble(http.StatusForbidden, "forbidden", fmt.Sprintf("%s may ask about its own branches only", own))
	}
	d, err := c.Decision(x, participant)
	switch {
	case errors.Is(err, dtc.ErrUnknownTx):
		return partTrouble(http.StatusNotFound, "unknown_transaction", "that transaction is another coordinator's: its log has another id")
	case err != nil:
		return c.refused(err, nil)
	}
	partWrite(c.w, http.StatusOK, "application/json", struct {
		Decision string `json:"decision"`
	}{d.String()})
	return nil
}
