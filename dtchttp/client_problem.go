package dtchttp

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/dtc-project/dtc"
)

// Problem is an answer of the control API that is no success (RFC 9457), or one of
// something else in its place, which has no Code. Errors of a [Client] wrap it; find it
// with errors.As, and what it means with errors.Is: [dtc.ErrBadRequest],
// [dtc.ErrUnknownTx], [dtc.ErrTxConflict], [dtc.ErrFull], [dtc.ErrClosed] (the
// coordinator is draining), [dtc.ErrLogFailed] (it is not ready, and then that is a
// [dtc.ErrClosed] too: it may be reading its log) and [dtc.ErrInDoubt].
type Problem struct {
	Status int
	// Code is one of bad_request, unauthorized, forbidden, not_found,
	// unknown_transaction, method_not_allowed, tx_conflict, too_large,
	// unsupported_media_type, full, draining, not_ready, outcome_unknown and internal.
	Code        string
	Detail      string // a sentence for people, on one line
	Participant string // the one that is meant
	Field       string // of the request, that is wrong
	// RetryAfter is how long the coordinator asks to wait; zero if it does not.
	RetryAfter time.Duration
	// RememberedSince goes with unknown_transaction: from when on every finished
	// transaction is remembered. nil means that none was forgotten.
	RememberedSince *Time
}

// Error implements error.
func (p *Problem) Error() string {
	text := "the coordinator answered " + strconv.Itoa(p.Status)
	if name := http.StatusText(p.Status); name != "" {
		text += " " + name
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return text
}

// Is reports whether target is the error of the library that says the same.
func (p *Problem) Is(target error) bool {
	switch p.Code {
	case "bad_request", "too_large", "unsupported_media_type":
		return target == dtc.ErrBadRequest
	case "unknown_transaction":
		return target == dtc.ErrUnknownTx
	case "tx_conflict":
		return target == dtc.ErrTxConflict
	case "full":
		return target == dtc.ErrFull
	case "draining":
		return target == dtc.ErrClosed
	case "not_ready": // its log is being read, or has failed: the code is the same
		return target == dtc.ErrLogFailed || target == dtc.ErrClosed
	case "outcome_unknown":
		return target == dtc.ErrInDoubt
	}
	return false
}

// busy reports whether the coordinator said that it has begun nothing, and may be asked
// again.
func (p *Problem) busy() bool {
	switch p.Code {
	case "full", "draining", "not_ready":
		return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
	}
	return false
}

// refused reports whether the answer says that this request was not carried out, and
// will not be if it comes again.
func (p *Problem) refused() bool {
	// A 3xx comes from something that sends its callers elsewhere, and did nothing.
	return p.Status >= 300 && p.Status <= 499 && !callTryLater(p.Status)
}

// problem reads an answer that is no success.
func (a callAnswer) problem() *Problem {
	p := &Problem{Status: a.status, RetryAfter: a.retryAfter()}
	if media, _, err := mime.ParseMediaType(a.media); err == nil && media == "application/problem+json" {
		if members, err := a.object(); err == nil {
			for _, m := range []struct {
				name string
				to   *string
			}{{"code", &p.Code}, {"participant", &p.Participant}, {"field", &p.Field}} {
				text, _ := partString(members[m.name])
				*m.to = partLine(partShorten(text, 128))
			}
			p.RememberedSince, _ = clientTime(members["remembered_since"])
		}
	}
	if p.Detail = partLine(a.text()); a.status >= 300 && a.status <= 399 {
		// Where to is not repeated: it may hold what was meant for somebody else.
		p.Detail = "it redirects, and redirects are not followed: give the client the URL of the coordinator itself"
	}
	return p
}

// clientMaxPause bounds what a server may ask a client to wait.
const clientMaxPause = 30 * time.Second

// retryAfter reads Retry-After in seconds. A date would depend on two clocks.
func (a callAnswer) retryAfter() time.Duration {
	n, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(min(n, 3600))*time.Second, clientMaxPause)
}

// clientUnsent: the request did not leave.
type clientUnsent struct {
	err error
}

func (e *clientUnsent) Error() string {
	return "the coordinator was not reached, nothing was begun: " + e.err.Error()
}
func (e *clientUnsent) Unwrap() error { return e.err }

// clientDoubt says that what a request asked for may have been done.
func clientDoubt(id dtc.TxID, why error) error {
	return fmt.Errorf("%w: %s: %w", dtc.ErrInDoubt, id, why)
}
