package dtchttp

// Files named participant… serve a participant over HTTP, files named caller… are
// the coordinator's side of the same calls. Both sides keep to section 3 of the
// HTTP contract: what one of them answers, the other understands as if it had been
// returned by a method in the same process.

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/failpoint"
	"github.com/dtc-project/dtc/internal/silence"
)

// HandlerOptions changes the defaults of [NewParticipantHandler]. The zero value,
// and nil, serve everybody who can connect.
type HandlerOptions struct {
	// Tokens, if not nil, returns the bearer tokens of which each request must
	// carry one. It is called for every request, from several goroutines, so that
	// tokens can be replaced while requests run; two are valid while callers move
	// from one to the next. With none, everything is refused.
	Tokens func() []string
	// Logger gets panics of the participant, with their stacks. nil means
	// slog.Default.
	Logger *slog.Logger
}

// NewParticipantHandler serves a participant over HTTP: POST /prepare, /commit and
// /rollback, and GET /in-doubt if the participant is a [dtc.Lister]; otherwise,
// and while its Listing is false, that answers 501. Mount it at a base path with
// [http.StripPrefix]:
//
//	mux.Handle("/dtc/", http.StripPrefix("/dtc", dtchttp.NewParticipantHandler(p, nil)))
//
// What the coordinator learns is what it would have learned from the participant
// in its own process, with one difference: an error of Prepare that is neither
// [dtc.NoAnswer] nor [dtc.Refuse] is told as a fault of the participant, with
// [dtc.ReasonParticipantError], because only a participant that holds nothing may
// answer vote_abort. Package guard refuses, and so has no such errors.
//
// Bodies are at most 1 MiB, payloads 256 KiB; a payload that is left out or null
// arrives empty. Errors are application/problem+json (RFC 9457), and their text,
// cut to 4 KiB, goes to the caller. The context of a call ends when the caller
// goes away; the deadline in a prepare is handed on in the branch but ends
// nothing, because the clocks of two machines differ. See [Traceparent].
//
// Time limits for reading and writing are those of the [http.Server]: set
// ReadHeaderTimeout and ReadTimeout there, and leave WriteTimeout above the
// longest call.
//
// The handler may be used by many goroutines at once, as the participant may.
func NewParticipantHandler(p dtc.Participant, opts *HandlerOptions) http.Handler {
	h := &partHandler{p: p, id: p.ID()}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Logger == nil {
		h.opts.Logger = slog.Default()
	}
	return h
}

type partHandler struct {
	p    dtc.Participant
	id   string
	opts HandlerOptions
}

// ServeHTTP implements [http.Handler].
func (h *partHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if t := h.serve(w, r); t != nil {
		t.Participant = h.id
		t.write(w)
	}
}

// serve answers, or returns what is wrong.
func (h *partHandler) serve(w http.ResponseWriter, r *http.Request) *partProblem {
	if !h.authorized(r) {
		return partTrouble(http.StatusUnauthorized, "unauthorized", "a valid bearer token is required")
	}
	if s := r.Header.Get("Traceparent"); s != "" {
		r = r.WithContext(WithTraceparent(r.Context(), s))
	}
	verb, method := strings.TrimPrefix(r.URL.Path, "/"), http.MethodPost
	switch verb {
	case partPrepare, partCommit, partRollback:
	case partInDoubt:
		method = http.MethodGet
	default:
		return partTrouble(http.StatusNotFound, "not_found", "a participant serves prepare, commit, rollback and in-doubt")
	}
	if r.Method != method {
		w.Header().Set("Allow", method)
		return partTrouble(http.StatusMethodNotAllowed, "method_not_allowed", verb+" is called with "+method)
	}
	if verb == partInDoubt {
		return h.inDoubt(w, r)
	}
	body, trouble := partReadBody(w, r)
	if trouble != nil {
		return trouble
	}
	b, trouble := partDecode(verb, h.id, body)
	if trouble != nil {
		return trouble
	}
	failpoint.Hit(failpoint.PartReceived)
	vote, err := h.call(r.Context(), verb, b)
	failpoint.Hit(failpoint.PartCalled)
	switch {
	case verb == partPrepare:
		return h.answerPrepare(w, r, vote, err)
	case err == nil:
		partWrite(w, http.StatusOK, "application/json", struct{}{})
		return nil
	}
	return h.answerFinish(r, err)
}

type partVote struct {
	Vote   string `json:"vote"`
	Reason string `json:"reason,omitempty"`
}

// answerPrepare tells apart what the coordinator tells apart when it calls a
// participant itself, in the same order.
func (h *partHandler) answerPrepare(w http.ResponseWriter, r *http.Request, vote dtc.Vote, err error) *partProblem {
	var panicked *partPanic
	answer := partVote{Vote: vote.String()}
	switch {
	case err == nil && vote <= dtc.VoteReadOnly:
	case err == nil:
		return partTrouble(http.StatusUnprocessableEntity, "participant_error", "it answered with "+vote.String())
	case errors.As(err, &panicked) || vote != dtc.VoteAbort:
		return partTrouble(http.StatusUnprocessableEntity, "participant_error", err.Error())
	case errors.Is(err, dtc.Refuse(nil)):
		answer.Reason = partShorten(err.Error(), partMaxReason)
	case partNoAnswer(err) || r.Context().Err() != nil:
		return h.noAnswer(err)
	default:
		return partTrouble(http.StatusUnprocessableEntity, "participant_error", err.Error())
	}
	partWrite(w, http.StatusOK, "application/json", answer)
	return nil
}

// answerFinish words an error of Commit or Rollback.
func (h *partHandler) answerFinish(r *http.Request, err error) *partProblem {
	var finished *dtc.FinishedError
	switch {
	case errors.As(err, &finished) && (finished.Outcome == dtc.Committed || finished.Outcome == dtc.RolledBack):
		t := partTrouble(http.StatusConflict, "finished", err.Error())
		t.State = finished.Outcome.String()
		return t
	case errors.Is(err, dtc.ErrUnknownBranch):
		return partTrouble(http.StatusNotFound, "unknown_branch", err.Error())
	case partNoAnswer(err) || r.Context().Err() != nil:
		return h.noAnswer(err)
	}
	return partTrouble(http.StatusInternalServerError, "participant_error", err.Error())
}

// noAnswer words an error that says nothing about the branch.
func (h *partHandler) noAnswer(err error) *partProblem {
	// The text of dtc.NoAnswer begins so, and the caller will say it again.
	text := strings.TrimPrefix(err.Error(), "no answer: ")
	if errors.Is(err, context.DeadlineExceeded) {
		return partTrouble(http.StatusGatewayTimeout, "no_answer", text)
	}
	return partTrouble(http.StatusServiceUnavailable, "no_answer", text)
}

// call calls the participant, and turns a panic into an error: of one call, not
// of the process that serves the others.
func (h *partHandler) call(ctx context.Context, verb string, b dtc.Branch) (vote dtc.Vote, err error) {
	defer func() {
		if v := recover(); v != nil {
			vote, err = dtc.VoteAbort, &partPanic{fmt.Sprintf("participant %s panicked in %s: %v", h.id, verb, v)}
			h.opts.Logger.Error("a participant panicked", "tx", string(b.TxID), "xid", b.XID.String(),
				"participant", h.id, "error", err.Error(), "stack", string(debug.Stack()))
		}
	}()
	switch verb {
	case partPrepare:
		vote, err = h.p.Prepare(ctx, b)
	case partCommit:
		err = h.p.Commit(ctx, b)
	case partRollback:
		err = h.p.Rollback(ctx, b)
	}
	if err != nil {
		_, _ = err.Error(), errors.Is(err, dtc.ErrNoAnswer) // a typed nil panics here, where it does no harm
	}
	return vote, err
}

type partPanic struct{ text string }

func (e *partPanic) Error() string { return e.text }

// authorized compares sums, so that the time it takes tells nothing about the
// tokens, their lengths included.
func (h *partHandler) authorized(r *http.Request) bool {
	if h.opts.Tokens == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return false
	}
	got, good := sha256.Sum256([]byte(token)), 0
	for _, t := range h.opts.Tokens() {
		if t == "" {
			continue // an empty file is no token
		}
		want := sha256.Sum256([]byte(t))
		good |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return good == 1
}

// partNoAnswer reports whether an error says nothing about the branch, as the
// coordinator decides it for participants in its own process.
func partNoAnswer(err error) bool {
	return errors.Is(err, dtc.ErrNoAnswer) || silence.Is(err)
}
