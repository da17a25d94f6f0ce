package dtchttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dtc-project/dtc"
)

// What bounds a listing, and how often the service is asked whether it lists.
const (
	callMaxBranches = 1_000_000
	callMaxPages    = 2_000
	callMaxCursor   = 4 << 10 // bytes

	callProbeTimeout = 10 * time.Second
	callProbePlain   = time.Minute     // after it said that it does not
	callProbeFailed  = 5 * time.Second // after no answer, or a bad one
)

// callPlainError: the service does not serve in-doubt.
type callPlainError struct{ answer error }

func (e *callPlainError) Error() string { return "the participant does not list: " + e.answer.Error() }

// Listing implements [dtc.Lister]. It is true from the first good answer to a
// question for what is in doubt, and false again once the service answers such a
// question with 404, 405 or 501. While it is false it lets the question be asked in
// the background, at most every few seconds, or every minute once it is known to
// be plain; so a service that starts, or learns to list, is found without being
// told. [Participant.Close] ends that.
func (p *Participant) Listing() bool {
	if p.listing.Load() {
		return true
	}
	// A clock that was set back would make the wait longer than any is.
	wait := p.nextProbe.Load() - time.Now().UnixNano()
	if wait > 0 && wait <= int64(callProbePlain) || !p.probing.CompareAndSwap(false, true) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false // closed
	}
	p.probes.Go(func() {
		defer p.probing.Store(false)
		ctx, cancel := context.WithTimeout(p.ctx, callProbeTimeout)
		defer cancel()
		pause := callProbePlain
		if p.Probe(ctx) != nil {
			pause = callProbeFailed
		}
		p.nextProbe.Store(time.Now().Add(pause).UnixNano())
	})
	return false
}

// Probe asks the service now whether it lists what it holds in doubt. It returns
// nil if that is known, either way; Listing tells. Called before the coordinator
// is opened, it lets recovery and the first transactions profit from a listing
// participant.
func (p *Participant) Probe(ctx context.Context) error {
	// No log has this id, so nothing is listed: that it answers is enough.
	_, err := p.InDoubt(ctx, dtc.LogID{})
	if plain := (*callPlainError)(nil); errors.As(err, &plain) {
		return nil
	}
	return err
}

// InDoubt implements [dtc.Lister]. It asks page by page until the service says
// that the list is complete. A page that is not understood, that names a branch of
// another log or participant, or one twice, a cursor that comes again, or more
// than 1,000,000 branches are errors.
func (p *Participant) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	all, err := p.inDoubt(ctx, log)
	plain := (*callPlainError)(nil)
	switch {
	case err == nil:
		p.listing.Store(true)
	case errors.As(err, &plain):
		p.listing.Store(false)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (p *Participant) inDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	l := callList{id: p.id, log: log, seen: map[dtc.XID]bool{}}
	cursors := map[string]bool{}
	for after := ""; ; {
		a, err := p.ask(ctx, log, after)
		if err != nil {
			return nil, dtc.NoAnswer(err)
		}
		next, err := l.page(a)
		switch {
		case err != nil:
			return nil, err
		case next == "":
			return l.all, nil
		case cursors[next]:
			return nil, errors.New("in-doubt: the listing goes round in circles: a cursor came twice")
		case len(cursors) == callMaxPages:
			return nil, fmt.Errorf("in-doubt: the listing has more than %d pages", callMaxPages)
		}
		cursors[next] = true
		after = next
	}
}

// callList is a listing as it grows page by page.
type callList struct {
	id   string
	log  dtc.LogID
	all  []dtc.InDoubtBranch
	seen map[dtc.XID]bool
}

// page takes a page, and returns the cursor of the next one, or "" if the list is
// complete.
func (l *callList) page(a callAnswer) (next string, err error) {
	switch a.status {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return "", &callPlainError{a.failure()}
	default:
		return "", dtc.NoAnswer(a.failure())
	}
	bad := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("in-doubt: the answer is not understood: "+format, args...)
	}
	members, err := a.object()
	if err != nil {
		return bad("%w", err)
	}
	var branches []callRaw
	next, ok := partString(members["next"])
	switch {
	case !ok || len(next) > callMaxCursor:
		return bad("next is no cursor")
	case next == "" && string(members["complete"]) != "true":
		return bad("nothing follows, and it does not say that the list is complete")
	case partNull(members["branches"]) || json.Unmarshal(members["branches"], &branches) != nil:
		return bad("branches is no list")
	case len(l.all)+len(branches) > callMaxBranches:
		return bad("more than %d branches in doubt", callMaxBranches)
	}
	for _, raw := range branches {
		b, err := l.branch(raw)
		if err != nil {
			return bad("%w", err)
		}
		l.seen[b.XID] = true
		l.all = append(l.all, b)
	}
	return next, nil
}

func (l *callList) branch(raw callRaw) (b dtc.InDoubtBranch, err error) {
	members, err := jsonMembers(raw)
	if err != nil {
		return b, err
	}
	xid, ok1 := partString(members["xid"])
	branch, ok2 := partString(members["branch"])
	at, ok3 := partString(members["prepared_at"])
	if !ok1 || !ok2 || !ok3 {
		return b, errors.New("a branch has xid, branch and prepared_at, which are strings")
	}
	if b.XID, err = dtc.ParseXID(xid); err != nil {
		return b, errors.New("an xid names no transaction of a coordinator")
	}
	if at != "" {
		if b.PreparedAt, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return b, fmt.Errorf("prepared_at of %s is no time of RFC 3339", b.XID)
		}
	}
	switch {
	case b.XID.Log != l.log:
		return b, fmt.Errorf("%s is of another log", b.XID)
	case branch != l.id:
		return b, fmt.Errorf("%s is a branch of %q, not of %s", b.XID, partShorten(branch, partMaxID), l.id)
	case l.seen[b.XID]:
		return b, fmt.Errorf("%s is listed twice", b.XID)
	}
	return b, nil
}
