package dtchttp

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/dtc-project/dtc"
)

// callAnswer is what came back for a call, as far as it was read.
type callAnswer struct {
	verb   string
	status int
	media  string // content type
	header http.Header
	body   []byte
	// cut says why the body does not end where it should; nil if it is whole. The
	// status counts all the same, where it says everything.
	cut error
}

// object reads a body that has to be one whole JSON object.
func (a callAnswer) object() (members map[string]callRaw, err error) {
	if a.cut != nil {
		return nil, a.cut
	}
	return jsonMembers(a.body)
}

// vote is the vote in an answer to prepare, or the error that explains why there
// is none.
func (a callAnswer) vote() (dtc.Vote, error) {
	switch {
	case a.status == http.StatusOK:
		vote, err := a.readVote()
		if err != nil && !errors.Is(err, dtc.Refuse(nil)) {
			err = dtc.NoAnswer(fmt.Errorf("prepare: the answer is not understood: %w", err))
		}
		return vote, err
	case a.status >= 400 && a.status <= 499 && !callTryLater(a.status):
		text := a.text()
		if text == "" {
			text = a.statusText()
		}
		return dtc.VoteAbort, dtc.Fault(errors.New(text))
	}
	return dtc.VoteAbort, dtc.NoAnswer(a.failure())
}

func (a callAnswer) readVote() (dtc.Vote, error) {
	members, err := a.object()
	if err != nil {
		return dtc.VoteAbort, err
	}
	word, ok := partString(members["vote"])
	reason, ok2 := partString(members["reason"])
	switch {
	case !ok || !ok2:
		return dtc.VoteAbort, errors.New("vote and reason must be strings")
	case word == dtc.VoteCommit.String():
		return dtc.VoteCommit, nil
	case word == dtc.VoteReadOnly.String():
		return dtc.VoteReadOnly, nil
	case word != dtc.VoteAbort.String():
		return dtc.VoteAbort, fmt.Errorf("%q is no vote", partShorten(word, 64))
	case reason == "":
		return dtc.VoteAbort, nil
	}
	// By contract it holds nothing, whatever the reason is.
	return dtc.VoteAbort, dtc.Refuse(errors.New(partShorten(reason, partMaxReason)))
}

// finished is what an answer to commit or rollback means for a branch that is to
// end in the given way.
func (a callAnswer) finished(want dtc.Outcome) error {
	switch {
	case a.status >= 200 && a.status <= 299:
		return nil
	case a.status == http.StatusConflict:
		members, err := a.object()
		state, _ := partString(members["state"])
		switch {
		case err != nil:
		case state == want.String():
			return nil
		case state == dtc.Committed.String():
			return &dtc.FinishedError{Outcome: dtc.Committed}
		case state == dtc.RolledBack.String():
			return &dtc.FinishedError{Outcome: dtc.RolledBack}
		}
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		return fmt.Errorf("%w: %w", dtc.ErrUnknownBranch, a.failure())
	case callTryLater(a.status) || callUnavailable(a.status):
		return dtc.NoAnswer(a.failure())
	}
	return a.failure()
}

// callTryLater reports whether a 4xx says nothing about what was asked.
func callTryLater(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

// callUnavailable reports whether a 5xx says that nobody is there to answer, this
// branch or another. A plain 500 may well concern one branch alone.
func callUnavailable(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// failure says for people what the answer was.
func (a callAnswer) failure() error {
	text := a.verb + ": " + a.statusText()
	if t := a.text(); t != "" {
		text += ": " + t
	}
	if a.status == http.StatusRequestTimeout || a.status == http.StatusGatewayTimeout {
		// Somebody was there, and ran out of time: not the same as unreachable.
		return &callTimeout{text}
	}
	return errors.New(text)
}

type callTimeout struct{ text string }

func (e *callTimeout) Error() string        { return e.text }
func (e *callTimeout) Is(target error) bool { return target == context.DeadlineExceeded }

func (a callAnswer) statusText() string {
	if name := http.StatusText(a.status); name != "" {
		return fmt.Sprintf("answered %d %s", a.status, name)
	}
	return fmt.Sprintf("answered %d", a.status)
}

// text is what the answer says about itself: the detail of a problem document, or
// the first line of anything else.
func (a callAnswer) text() string {
	if media, _, err := mime.ParseMediaType(a.media); err == nil && media == "application/problem+json" {
		if members, err := a.object(); err == nil {
			for _, name := range []string{"detail", "title"} {
				if s, ok := partString(members[name]); ok && s != "" {
					return partShorten(s, partMaxReason)
				}
			}
		}
	}
	return partLine(string(a.body))
}
