package dtchttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dtc-project/dtc"
)

// Transaction describes a transaction that is running, or has ended and is remembered.
// The id may be the text of an XID for one that is not finished. The error is a
// [dtc.ErrUnknownTx] if there is none; it says nothing about how it ended, and its
// [*Problem] has RememberedSince.
func (c *Client) Transaction(ctx context.Context, id dtc.TxID) (t Transaction, err error) {
	if err := clientCheckID(id); err != nil {
		return Transaction{}, err
	}
	q := &clientCall{id: id, method: http.MethodGet, path: "/v1/transactions" + clientPath(string(id))}
	err = c.once(ctx, q, func(a callAnswer) (err error) {
		t, err = a.transaction(id)
		return err
	})
	return t, err
}

// Outcome returns how a transaction ended, as [dtc.Coordinator.Outcome] does.
func (c *Client) Outcome(ctx context.Context, id dtc.TxID) (dtc.Outcome, error) {
	t, err := c.Transaction(ctx, id)
	if err != nil {
		return dtc.OutcomeUnknown, err
	}
	if t.Held && t.Outcome == nil {
		return dtc.OutcomeUnknown, clientDoubt(id, errors.New("a recovery hold covers it"))
	}
	return t.outcome()
}

// TransactionsFilter selects transactions; the zero value selects all that are not
// finished everywhere.
type TransactionsFilter struct {
	// State is one of the words of [Transaction]. With committed, rolled_back and
	// heuristic those that ended not long ago are among them.
	State       string
	Participant string // those with an unfinished branch there
	PageSize    int    // how many are asked for at a time, at most 1,000; zero means 100
}

// Transactions returns the transactions that a filter selects, newest first. It asks for
// page after page; the first error is the last thing that it yields.
func (c *Client) Transactions(ctx context.Context, f TransactionsFilter) iter.Seq2[Transaction, error] {
	query := url.Values{}
	if f.State != "" {
		query.Set("state", f.State)
	}
	if f.Participant != "" {
		query.Set("participant", f.Participant)
	}
	if f.PageSize > 0 {
		query.Set("limit", strconv.Itoa(min(f.PageSize, controlMaxPage)))
	}
	return clientPages(ctx, c, "transactions", query, clientTransaction)
}

// Participants returns what the coordinator knows about its participants, by id; the
// first error is the last thing that it yields.
func (c *Client) Participants(ctx context.Context) iter.Seq2[ParticipantStatus, error] {
	return clientPages(ctx, c, "participants", url.Values{}, clientParticipant)
}

func clientParticipant(text []byte) (p ParticipantStatus, err error) {
	err = clientDecode(text, clientField{"id", &p.ID}, clientField{"kind", &p.Kind}, clientField{"url", &p.URL},
		clientField{"listing", &p.Listing}, clientField{"state", &p.State}, clientField{"in_doubt", &p.InDoubt},
		clientField{"oldest_in_doubt", &p.OldestInDoubt}, clientField{"orphans", &p.Orphans}, clientField{"last_error", &p.LastError})
	if err == nil && p.ID == "" {
		err = errors.New("it names no participant")
	}
	return p, err
}

// clientPages asks for a list page by page.
func clientPages[T any](ctx context.Context, c *Client, name string, query url.Values, read func([]byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for first := true; first || query.Get("after") != ""; first = false {
			var items []T
			q := &clientCall{method: http.MethodGet, path: "/v1/" + name, query: query}
			var next string
			err := c.once(ctx, q, func(a callAnswer) (err error) {
				items, next, err = clientPage(a, name, read)
				return err
			})
			if err == nil && next != "" && next == query.Get("after") {
				err = errors.New("the coordinator names the same page as the next one")
			}
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			more := url.Values{}
			for k, v := range query {
				more[k] = v
			}
			more.Set("after", next)
			query = more
		}
	}
}

// clientMaxPage bounds the items of a page. It may have more than were asked for: a page
// of transactions ends between two XIDs, and branches that the sweep found share theirs.
const clientMaxPage = 100 * controlMaxPage

// clientPage reads a page of a list.
func clientPage[T any](a callAnswer, name string, read func([]byte) (T, error)) (items []T, next string, err error) {
	body, err := a.json()
	if err != nil {
		return nil, "", err
	}
	var list json.RawMessage
	if err := clientDecode(body, clientField{name, &list}, clientField{"next", &next}); err != nil {
		return nil, "", err
	}
	if list == nil {
		return nil, "", fmt.Errorf("there is no list of %s in it", name)
	}
	texts, err := clientList(list, clientMaxPage)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	for i, text := range texts {
		item, err := read(text)
		if err != nil {
			return nil, "", fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		items = append(items, item)
	}
	return items, next, nil
}

// Decision answers a participant that asks about a branch it holds, as
// [dtc.Coordinator.Decision] does.
func (c *Client) Decision(ctx context.Context, x dtc.XID, participant string) (d dtc.Decision, err error) {
	if err := partCheckID(participant); err != nil {
		return dtc.AskLater, err
	}
	q := &clientCall{method: http.MethodGet, path: "/v1/branches" + clientPath(x.String(), participant)}
	err = c.once(ctx, q, func(a callAnswer) error {
		body, err := a.json()
		if err != nil {
			return err
		}
		var word string
		if err := clientDecode(body, clientField{"decision", &word}); err != nil {
			return err
		}
		for _, known := range []dtc.Decision{dtc.AskLater, dtc.Undecided, dtc.DecidedCommit, dtc.DecidedRollback} {
			if known.String() == word {
				d = known
				return nil
			}
		}
		return fmt.Errorf("%q is no decision", partShorten(word, 64))
	})
	if err != nil {
		return dtc.AskLater, err
	}
	return d, nil
}

// Retry makes the coordinator call the waiting branches of a transaction now, for an
// operator.
func (c *Client) Retry(ctx context.Context, id dtc.TxID) error {
	if err := clientCheckID(id); err != nil {
		return err
	}
	q := &clientCall{id: id, method: http.MethodPost, path: "/v1/transactions" + clientPath(string(id), "retry")}
	return c.once(ctx, q, func(callAnswer) error { return nil })
}

// Resolve states, for an operator, how a branch ended, as [dtc.Coordinator.Resolve] does.
// It is sent once: [dtc.ErrInDoubt] means that the statement may have been taken, which
// [Client.Transaction] shows.
func (c *Client) Resolve(ctx context.Context, id dtc.TxID, participant string, outcome dtc.Outcome, reason string) error {
	if err := clientCheckID(id); err != nil {
		return err
	}
	if err := partCheckID(participant); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := clientBody(map[string]string{"outcome": outcome.String(), "reason": reason})
	if err != nil {
		return err
	}
	q := &clientCall{
		id: id, method: http.MethodPost, body: body,
		path: "/v1/transactions" + clientPath(string(id), "branches", participant, "resolve"),
	}
	_, fate, err := c.try(ctx, q)
	if fate == clientUnknown {
		return clientDoubt(id, err)
	}
	return err
}

// Ready returns nil if the coordinator takes transactions, and otherwise an error that
// says why it does not.
func (c *Client) Ready(ctx context.Context) error {
	return c.ready(ctx, nil)
}

func (c *Client) ready(ctx context.Context, query url.Values) error {
	a, fate, err := c.try(ctx, &clientCall{method: http.MethodGet, path: "/readyz", query: query})
	var p *Problem
	if fate != clientDone && errors.As(err, &p) && p.Code == "" && p.Status == http.StatusServiceUnavailable {
		if text := strings.TrimSpace(string(a.body)); strings.Contains(text, "not ready") {
			p.Code, p.Detail = "not_ready", partLine(text)
		}
	}
	return err
}
