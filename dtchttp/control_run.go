package dtchttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/txlog"
)

// detached is the context of work that goes on when its client is gone.
func (c *controlCall) detached() context.Context { return context.WithoutCancel(c.r.Context()) }

// id returns the transaction id in the path.
func (c *controlCall) id() (dtc.TxID, *partProblem) {
	return dtc.TxID(c.args["id"]), controlCheckID(c.args["id"], "id")
}

func (h *ControlHandler) run(c *controlCall) *partProblem {
	q, trouble := h.body(c, "id", "branches", "prepare_timeout", "completion_wait")
	if trouble != nil {
		return trouble
	}
	if len(q.Branches) == 0 {
		return controlBad("branches", "a transaction needs at least one branch")
	}
	if q.ID == "" {
		q.ID = dtc.NewTxID()
	}
	info, err := c.Transact(c.detached(), q.ID, q.options(), q.Branches...)
	if err != nil {
		return c.refused(err, q.Branches)
	}
	c.answer(http.StatusOK, info)
	return nil
}

func (h *ControlHandler) begin(c *controlCall) *partProblem {
	q, trouble := h.body(c, "id", "timeout")
	if trouble != nil {
		return trouble
	}
	if q.ID == "" {
		q.ID = dtc.NewTxID()
	}
	info, begun, err := c.Begin(q.ID, q.options())
	if err != nil {
		return c.refused(err, nil)
	}
	status := http.StatusOK
	if begun {
		status = http.StatusCreated
	}
	c.answer(status, info)
	return nil
}

func (h *ControlHandler) enlist(c *controlCall) *partProblem {
	id, trouble := c.id()
	if trouble != nil {
		return trouble
	}
	q, trouble := h.body(c, "participant", "payload", "xid")
	if trouble != nil {
		return trouble
	}
	if q.Participant == "" {
		return controlBad("participant", "say which participant is to take part")
	}
	b := dtc.Branch{Participant: q.Participant, Payload: q.Payload, XID: q.XID}
	x, added, err := c.Enlist(id, b)
	if err != nil {
		return c.refused(err, []dtc.Branch{b})
	}
	status := http.StatusOK
	if added {
		status = http.StatusCreated
	}
	partWrite(c.w, status, "application/json", struct {
		XID    string `json:"xid"`
		Branch string `json:"branch"`
	}{x.String(), q.Participant})
	return nil
}

func (h *ControlHandler) commit(c *controlCall) *partProblem {
	return h.end(c, []string{"prepare_timeout", "completion_wait", "xid"}, func(id dtc.TxID, o *dtc.TxOptions) (dtc.TxInfo, error) {
		return c.Commit(c.detached(), id, o)
	})
}

func (h *ControlHandler) rollback(c *controlCall) *partProblem {
	return h.end(c, []string{"xid"}, func(id dtc.TxID, o *dtc.TxOptions) (dtc.TxInfo, error) {
		return c.Rollback(c.detached(), id, o)
	})
}

func (h *ControlHandler) end(c *controlCall, fields []string, end func(dtc.TxID, *dtc.TxOptions) (dtc.TxInfo, error)) *partProblem {
	id, trouble := c.id()
	if trouble != nil {
		return trouble
	}
	q, trouble := h.body(c, fields...)
	if trouble != nil {
		return trouble
	}
	info, err := end(id, q.options())
	if err != nil {
		return c.refused(err, nil)
	}
	c.answer(http.StatusOK, info)
	return nil
}

func (h *ControlHandler) show(c *controlCall) *partProblem {
	id, trouble := c.id()
	if trouble != nil {
		return trouble
	}
	info, err := c.Prove(c.r.Context(), id)
	if err != nil {
		return c.refused(err, nil)
	}
	c.answer(http.StatusOK, info)
	return nil
}

func (c *controlCall) answer(status int, info dtc.TxInfo) {
	failpoint.Hit(failpoint.ServeReply)
	partWrite(c.w, status, "application/json", newTransaction(info, c.RememberedSince()))
	failpoint.Hit(failpoint.ServeReplied)
}

// refused is the answer to a request that had no outcome.
func (c *controlCall) refused(err error, branches []dtc.Branch) *partProblem {
	trouble := func(status int, code string) *partProblem { return partTrouble(status, code, err.Error()) }
	switch {
	case errors.Is(err, dtc.ErrInDoubt): // before those that it may wrap
		return trouble(http.StatusServiceUnavailable, "outcome_unknown")
	case errors.Is(err, dtc.ErrUnknownTx):
		t := trouble(http.StatusNotFound, "unknown_transaction")
		t.RememberedSince = newTime(c.RememberedSince())
		return t
	case errors.Is(err, dtc.ErrTxConflict):
		return trouble(http.StatusConflict, "tx_conflict")
	case errors.Is(err, txlog.ErrNoRoom):
		return trouble(http.StatusServiceUnavailable, "full")
	case errors.Is(err, dtc.ErrFull):
		return trouble(http.StatusTooManyRequests, "full")
	case errors.Is(err, dtc.ErrClosed):
		return trouble(http.StatusServiceUnavailable, "draining")
	case errors.Is(err, dtc.ErrLogFailed):
		return trouble(http.StatusServiceUnavailable, "not_ready")
	case errors.Is(err, dtc.ErrBadRequest):
		t := trouble(http.StatusBadRequest, "bad_request")
		t.Field, t.Participant = c.unregistered(branches)
		return t
	}
	return trouble(http.StatusInternalServerError, "internal")
}

// unregistered finds the branch whose participant the coordinator does not have.
func (c *controlCall) unregistered(branches []dtc.Branch) (field, participant string) {
	known := map[string]bool{}
	for _, p := range c.Participants() {
		known[p.ID] = p.Registered
	}
	for i, b := range branches {
		if !known[b.Participant] {
			if _, one := c.args["id"]; one {
				return "participant", b.Participant
			}
			return controlBranchField(i), b.Participant
		}
	}
	return "", ""
}
