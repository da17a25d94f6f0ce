package dtchttp

import (
	"net/http"
)

// retry calls the waiting branches of a transaction now.
func (h *ControlHandler) retry(c *controlCall) (trouble *partProblem) {
	defer func() { h.audit(c.r, c.caller, "retry", c.args, trouble.code()) }()
	id, trouble := c.id()
	if trouble != nil {
		return trouble
	}
	_, trouble = h.body(c)
	if trouble != nil {
		return trouble
	}
	if err := c.Retry(c.detached(), id); err != nil {
		return c.refused(err, nil)
	}
	return c.shown(http.StatusAccepted)
}

// resolve takes an operator's word for how a branch ended.
func (h *ControlHandler) resolve(c *controlCall) (trouble *partProblem) {
	var q controlRequest
	defer func() {
		h.audit(c.r, c.caller, "resolve", c.args, trouble.code(), "outcome", q.Outcome.String(), "reason", partLine(q.Reason))
	}()
	id, trouble := c.id()
	if trouble != nil {
		return trouble
	}
	q, trouble = h.body(c, "outcome", "reason")
	switch {
	case trouble != nil:
		return trouble
	case q.Outcome == 0:
		return controlBad("outcome", "outcome must be committed or rolled_back")
	case q.Reason == "":
		return controlBad("reason", "say why the branch is resolved by hand")
	case len(q.Reason) > controlMaxReason:
		return controlBad("reason", "reason has %d bytes; at most %d are allowed", len(q.Reason), controlMaxReason)
	}
	if err := c.Resolve(c.detached(), id, c.args["participant"], q.Outcome, q.Reason); err != nil {
		return c.refused(err, nil)
	}
	return c.shown(http.StatusOK)
}

// controlMaxReason bounds what an operator says to the log, in bytes.
const controlMaxReason = 1024

// shown answers with the transaction as it is after what was done to it.
func (c *controlCall) shown(status int) *partProblem {
	id, _ := c.id()
	info, err := c.Transaction(id)
	if err != nil { // it ended, and had no id to be remembered by
		partWrite(c.w, status, "application/json", struct{}{})
		return nil
	}
	c.answer(status, info)
	return nil
}

// code returns the code of a problem, or "ok".
func (p *partProblem) code() string {
	if p == nil {
		return "ok"
	}
	return p.Code
}
