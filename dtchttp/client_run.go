package dtchttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dtc-project/dtc"
)

// Execute runs one transaction over the given branches, as [dtc.Coordinator.Execute]
// does. Payloads must be JSON. An empty id is replaced by a new one. ctx bounds how long
// the client waits; what the coordinator has begun it finishes.
func (c *Client) Execute(ctx context.Context, id dtc.TxID, branches ...dtc.Branch) (bool, error) {
	return c.ExecuteWith(ctx, id, nil, branches...)
}

// ExecuteWith is [Client.Execute] with options; nil options are the coordinator's.
func (c *Client) ExecuteWith(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions, branches ...dtc.Branch) (bool, error) {
	t, err := c.Transact(ctx, id, opts, branches...)
	if err != nil {
		return false, err
	}
	return t.result()
}

// Transact is [Client.ExecuteWith] for those who want to know more: the error is nil
// whenever an outcome is known, also if that is a rollback.
func (c *Client) Transact(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions, branches ...dtc.Branch) (Transaction, error) {
	if id == "" {
		id = dtc.NewTxID() // here, so that a repetition has the same
	}
	body, err := clientRunBody(id, opts, branches)
	if err != nil {
		return Transaction{}, err
	}
	q := &clientCall{id: id, method: http.MethodPost, path: "/v1/transactions", body: body, extra: clientExtra(opts)}
	return c.ended(ctx, q)
}

// Begin begins a transaction that grows by steps, as [dtc.Coordinator.Begin] does. An
// empty id is replaced by a new one, which stands in the document. begun is false if a
// transaction of that id was there already, which may be the work of an earlier attempt
// whose answer was lost.
func (c *Client) Begin(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions) (t Transaction, begun bool, err error) {
	if id == "" {
		id = dtc.NewTxID()
	}
	if err := clientCheckID(id); err != nil {
		return Transaction{}, false, err
	}
	body := struct {
		ID      dtc.TxID `json:"id"`
		Timeout string   `json:"timeout,omitempty"`
	}{ID: id}
	if opts != nil && opts.Lifetime != 0 {
		body.Timeout = opts.Lifetime.String()
	}
	q := &clientCall{id: id, method: http.MethodPost, path: "/v1/transactions/begin"}
	if q.body, err = json.Marshal(body); err != nil {
		return Transaction{}, false, err
	}
	err = c.repeat(ctx, q, func(a callAnswer) (err error) {
		begun = a.status == http.StatusCreated
		t, err = a.transaction(id)
		return err
	})
	return t, begun && err == nil, err
}

// Enlist adds a branch to a transaction that [Client.Begin] began, as
// [dtc.Coordinator.Enlist] does. It returns the XID, under which a participant keeps the
// work that is done for it.
func (c *Client) Enlist(ctx context.Context, id dtc.TxID, b dtc.Branch) (x dtc.XID, added bool, err error) {
	if err := clientCheckID(id); err != nil {
		return dtc.XID{}, false, err
	}
	branch, err := newClientBranch(b)
	if err != nil {
		return dtc.XID{}, false, err
	}
	branch.XID = clientXID(&dtc.TxOptions{XID: b.XID})
	q := &clientCall{id: id, method: http.MethodPost, path: "/v1/transactions" + clientPath(string(id), "branches")}
	if q.body, err = clientBody(branch); err != nil {
		return dtc.XID{}, false, err
	}
	err = c.repeat(ctx, q, func(a callAnswer) error {
		added = a.status == http.StatusCreated
		var xid, participant string
		body, err := a.json()
		if err != nil {
			return err
		}
		if err := clientDecode(body, clientField{"xid", &xid}, clientField{"branch", &participant}); err != nil {
			return err
		}
		if participant != b.Participant {
			return fmt.Errorf("it is about a branch at %q", partShorten(participant, 64))
		}
		x, err = dtc.ParseXID(xid)
		return err
	})
	return x, added && err == nil, err
}

// Commit commits a transaction that [Client.Begin] began, as [dtc.Coordinator.Commit]
// does. [dtc.ErrUnknownTx] alone means that this call committed nothing; together with
// [dtc.ErrInDoubt], that an earlier attempt may have.
func (c *Client) Commit(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions) (Transaction, error) {
	return c.end(ctx, id, "commit", opts)
}

// Rollback rolls back a transaction that [Client.Begin] began, as
// [dtc.Coordinator.Rollback] does.
func (c *Client) Rollback(ctx context.Context, id dtc.TxID, opts *dtc.TxOptions) (Transaction, error) {
	var only dtc.TxOptions // how long it may take is no matter of a rollback's
	if opts != nil {
		only.XID = opts.XID
	}
	return c.end(ctx, id, "rollback", &only)
}

func (c *Client) end(ctx context.Context, id dtc.TxID, verb string, opts *dtc.TxOptions) (Transaction, error) {
	if err := clientCheckID(id); err != nil {
		return Transaction{}, err
	}
	q := &clientCall{id: id, method: http.MethodPost, path: "/v1/transactions" + clientPath(string(id), verb), extra: clientExtra(opts)}
	var err error
	if q.body, err = json.Marshal(struct {
		clientTimes
		XID string `json:"xid,omitempty"`
	}{newClientTimes(opts), clientXID(opts)}); err != nil {
		return Transaction{}, err
	}
	return c.ended(ctx, q)
}

// ended sends a request that is answered when the outcome is known.
func (c *Client) ended(ctx context.Context, q *clientCall) (t Transaction, err error) {
	err = c.repeat(ctx, q, func(a callAnswer) (err error) {
		if t, err = a.transaction(q.id); err == nil && t.Outcome == nil {
			err = errors.New("it tells no outcome")
		}
		return err
	})
	if err != nil {
		return Transaction{}, err
	}
	return t, nil
}

// transaction reads the document of the transaction that was asked for.
func (a callAnswer) transaction(id dtc.TxID) (Transaction, error) {
	body, err := a.json()
	if err != nil {
		return Transaction{}, err
	}
	t, err := clientTransaction(body)
	switch {
	case err != nil:
		return Transaction{}, err
	case t.ID != string(id) && t.XID != string(id):
		return Transaction{}, fmt.Errorf("it is about transaction %q", partShorten(t.ID, 128))
	}
	return t, nil
}

// clientTimes are the times that may be asked for.
type clientTimes struct {
	PrepareTimeout string `json:"prepare_timeout,omitempty"`
	CompletionWait string `json:"completion_wait,omitempty"`
}

func newClientTimes(opts *dtc.TxOptions) (t clientTimes) {
	if opts != nil && opts.PrepareTimeout != 0 {
		t.PrepareTimeout = opts.PrepareTimeout.String()
	}
	if opts != nil && opts.CompletionWait != 0 {
		t.CompletionWait = max(opts.CompletionWait, 0).String() // negative means not at all
	}
	return t
}

// clientXID says which transaction of an id is meant.
func clientXID(opts *dtc.TxOptions) string {
	if opts == nil || opts.XID.IsZero() {
		return ""
	}
	return opts.XID.String()
}

// clientExtra is how long an answer may take because its caller asked for it.
func clientExtra(opts *dtc.TxOptions) time.Duration {
	if opts == nil {
		return 0
	}
	return min(max(opts.PrepareTimeout, 0), controlMaxTime) + min(max(opts.CompletionWait, 0), controlMaxTime)
}

type clientBranch struct {
	Participant string          `json:"participant"`
	Payload     json.RawMessage `json:"payload,omitempty"`
	XID         string          `json:"xid,omitempty"`
}

func newClientBranch(b dtc.Branch) (clientBranch, error) {
	if err := partCheckID(b.Participant); err != nil {
		return clientBranch{}, err
	}
	branch := clientBranch{Participant: b.Participant}
	if len(b.Payload) == 0 {
		return branch, nil
	}
	payload, err := callPayload(b.Payload)
	if err != nil {
		return clientBranch{}, fmt.Errorf("%w: for %s: %w", dtc.ErrBadRequest, b.Participant, err)
	}
	branch.Payload = payload
	return branch, nil
}

func clientRunBody(id dtc.TxID, opts *dtc.TxOptions, branches []dtc.Branch) ([]byte, error) {
	if err := clientCheckID(id); err != nil {
		return nil, err
	}
	body := struct {
		ID       dtc.TxID       `json:"id"`
		Branches []clientBranch `json:"branches"`
		clientTimes
	}{ID: id, clientTimes: newClientTimes(opts)}
	for _, b := range branches {
		branch, err := newClientBranch(b)
		if err != nil {
			return nil, err
		}
		body.Branches = append(body.Branches, branch)
	}
	return clientBody(body)
}

// clientBody marshals a body. What is too long is refused here: the coordinator would
// break off reading it, and its answer be lost with the connection.
func clientBody(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // payloads are handed on as they are
	err := e.Encode(v)
	body := bytes.TrimSpace(b.Bytes())
	if err == nil && len(body) > partMaxBody {
		err = fmt.Errorf("%w: the request has %d bytes; at most %d are allowed", dtc.ErrBadRequest, len(body), partMaxBody)
	}
	return body, err
}

func clientCheckID(id dtc.TxID) error {
	if !partGoodTxID(string(id)) {
		return fmt.Errorf("%w: the transaction id %q must be 1 to %d bytes of printable UTF-8 without spaces", dtc.ErrBadRequest, partShorten(string(id), 2*partMaxTxID), partMaxTxID)
	}
	return nil
}
