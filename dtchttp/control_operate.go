package dtchttp

import (
	"errors"
	"net/http"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/txlog"
)

// retry calls the waiting branches of a transaction now.
func (h *ControlHandler) retry(c *controlCall) *partProblem {
	return h.operate(c, func(id dtc.TxID, q *controlRequest) (trouble *partProblem) {
		if *q, trouble = h.body(c); trouble != nil {
			return trouble
		}
		if err := c.Retry(c.detached(), id); err != nil {
			return c.refused(err, nil)
		}
		return c.shown(http.StatusAccepted)
	})
}

// resolve takes an operator's word for how a branch ended.
func (h *ControlHandler) resolve(c *controlCall) *partProblem {
	return h.operate(c, func(id dtc.TxID, q *controlRequest) (trouble *partProblem) {
		participant := c.args["participant"]
		if partCheckID(participant) != nil {
			return controlBad("participant", "participant must be 1 to %d characters of [A-Za-z0-9._-]", partMaxID)
		}
		*q, trouble = h.body(c, "outcome", "reason")
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
		err := c.Resolve(c.detached(), id, participant, q.Outcome, q.Reason)
		switch {
		case errors.Is(err, txlog.ErrUnknown): // not merely a log that had failed before
			return partTrouble(http.StatusServiceUnavailable, "outcome_unknown", "the log failed under the statement, which may or may not count: look at the branch after a restart")
		case err != nil:
			trouble = c.refused(err, nil)
			trouble.Participant = participant
			return trouble
		}
		return c.shown(http.StatusOK)
	})
}

// operate serves a call of an operator, and notes in the audit what came of it: also
// that it panicked, for nobody knows what it had done by then.
func (h *ControlHandler) operate(c *controlCall, serve func(dtc.TxID, *controlRequest) *partProblem) (trouble *partProblem) {
	var q controlRequest
	result := "internal"
	defer func() { h.audit(c.r, c.caller, c.route.path, c.args, result, &q) }()
	id, trouble := c.id()
	if trouble == nil {
		trouble = serve(id, &q)
	}
	result = trouble.code()
	return trouble
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
