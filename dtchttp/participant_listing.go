package dtchttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/failpoint"
)

const (
	partDefaultPage = 100
	partMaxPage     = 1000
)

// partTimeLayout is how times are written: RFC 3339 in UTC with milliseconds.
const partTimeLayout = "2006-01-02T15:04:05.000Z"

type partPage struct {
	Branches []partBranch `json:"branches"`
	Next     *string      `json:"next"`
	// Complete stands on the last page only: who takes it for the end of the list
	// must not miss what follows.
	Complete bool `json:"complete"`
}

type partBranch struct {
	XID        string  `json:"xid"`
	Branch     string  `json:"branch"`
	PreparedAt *string `json:"prepared_at"`
}

// partQuestion is what a caller wants listed.
type partQuestion struct {
	log   dtc.LogID
	limit int
	after dtc.XID // zero: from the beginning
}

func partDecodeQuestion(rawQuery string) (q partQuestion, trouble *partProblem) {
	bad := func(field, format string, args ...any) (partQuestion, *partProblem) {
		t := partTrouble(http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...))
		t.Field = field
		return partQuestion{}, t
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return bad("", "the query is not understood")
	}
	q.limit = partDefaultPage
	for name, v := range values {
		name = partShorten(name, 64)
		if len(v) != 1 {
			return bad(name, "%q stands in the query twice", name)
		}
		switch name {
		case "log":
		case "limit":
			if q.limit, err = strconv.Atoi(v[0]); err != nil || q.limit < 1 || q.limit > partMaxPage {
				return bad(name, "limit must be a number from 1 to %d", partMaxPage)
			}
		case "after":
			if v[0] == "" {
				continue
			}
			if q.after, err = dtc.ParseXID(v[0]); err != nil {
				return bad(name, "after is no cursor of this list")
			}
		default:
			return bad(name, "the parameter %q is not known", name)
		}
	}
	if q.log, err = dtc.ParseLogID(values.Get("log")); err != nil || q.log.String() != values.Get("log") {
		return bad("log", "log must be the id of a coordinator's log")
	}
	if !q.after.IsZero() && q.after.Log != q.log {
		return bad("after", "after is no cursor of this list")
	}
	return q, nil
}

// inDoubt answers with one page. Each page is cut out of a complete list taken
// anew, in the order of XIDs, which never change: what was prepared before the
// first page was asked for, and stays so, is on one of them.
func (h *partHandler) inDoubt(w http.ResponseWriter, r *http.Request) *partProblem {
	lister, ok := h.p.(dtc.Lister)
	if !ok || !lister.Listing() {
		return partTrouble(http.StatusNotImplemented, "not_listing", "this participant cannot list what it holds in doubt")
	}
	q, trouble := partDecodeQuestion(r.URL.RawQuery)
	if trouble != nil {
		return trouble
	}
	all, err := h.list(r.Context(), lister, q.log)
	if err != nil {
		// Of no use to whoever asks, whatever it says: half a list proves nothing.
		return h.noAnswer(err)
	}
	slices.SortFunc(all, func(a, b dtc.InDoubtBranch) int { return partCompare(a.XID, b.XID) })
	all = slices.CompactFunc(all, func(a, b dtc.InDoubtBranch) bool { return a.XID == b.XID })
	from := 0
	if !q.after.IsZero() {
		from = sort.Search(len(all), func(i int) bool { return partCompare(all[i].XID, q.after) > 0 })
	}
	page := partPage{Branches: []partBranch{}, Complete: true}
	for _, b := range all[from:] {
		if len(page.Branches) == q.limit {
			last := page.Branches[q.limit-1].XID
			page.Next, page.Complete = &last, false
			break
		}
		entry := partBranch{XID: b.XID.String(), Branch: h.id}
		if !b.PreparedAt.IsZero() {
			at := b.PreparedAt.UTC().Format(partTimeLayout)
			entry.PreparedAt = &at
		}
		page.Branches = append(page.Branches, entry)
	}
	partWrite(w, http.StatusOK, "application/json", page)
	return nil
}

// partCompare orders the XIDs of one log so that no two are alike: a log and its
// copy may have given one number to two incarnations, told apart by their nonce.
func partCompare(a, b dtc.XID) int {
	return cmp.Or(a.Compare(b), cmp.Compare(a.Incarnation.Nonce, b.Incarnation.Nonce))
}

func (h *partHandler) list(ctx context.Context, lister dtc.Lister, log dtc.LogID) (all []dtc.InDoubtBranch, err error) {
	defer func() {
		if v := recover(); v != nil {
			all, err = nil, &partPanic{fmt.Sprintf("participant %s panicked while it listed: %v", h.id, v)}
			h.opts.Logger.Error("a participant panicked", "participant", h.id, "error", err.Error(), "stack", string(debug.Stack()))
		}
	}()
	all, err = lister.InDoubt(ctx, log)
	failpoint.Hit(failpoint.PartListed)
	if err != nil {
		_, _ = err.Error(), errors.Is(err, dtc.ErrNoAnswer) // a typed nil panics here, where it does no harm
	}
	for _, b := range all {
		if err == nil && b.XID.Log != log {
			err = fmt.Errorf("participant %s listed %s, of another log", h.id, b.XID)
		}
	}
	return slices.Clone(all), err // it is sorted, and may be the participant's own
}
