package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/dtc-project/dtc/dtchttp"
)

// control calls a coordinator's control API.
type control struct {
	base   string
	client *http.Client
}

// do sends in, if it is not nil, and reads an answer with one of the codes 2xx.
func (c *control) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(text))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// run runs a transaction, which is done when the outcome is known; wait is how long
// to stay for the rest.
func (c *control) run(ctx context.Context, id string, branches []wireBranch, prepare, wait time.Duration) (t dtchttp.Transaction, err error) {
	in := map[string]any{"id": id, "branches": branches, "completion_wait": wait.String()}
	if prepare > 0 {
		in["prepare_timeout"] = prepare.String()
	}
	err = c.do(ctx, http.MethodPost, "/v1/transactions", in, &t)
	return t, err
}

type wireBranch struct {
	Participant string          `json:"participant"`
	Payload     json.RawMessage `json:"payload"`
}

// transaction asks what became of one.
func (c *control) transaction(ctx context.Context, id string) (t dtchttp.Transaction, err error) {
	err = c.do(ctx, http.MethodGet, "/v1/transactions/"+id, nil, &t)
	return t, err
}

// unfinished returns how many branches are not finished.
func (c *control) unfinished(ctx context.Context) (n int, err error) {
	var list struct {
		Participants []dtchttp.ParticipantStatus `json:"participants"`
	}
	err = c.do(ctx, http.MethodGet, "/v1/participants", nil, &list)
	for _, p := range list.Participants {
		n += p.InDoubt
	}
	return n, err
}

// ready returns when it is ready.
func (c *control) ready(ctx context.Context) error {
	return poll(ctx, "the coordinator is not ready", func() (bool, error) {
		return c.do(ctx, http.MethodGet, "/readyz", nil, nil) == nil, nil
	})
}

// poll asks until something is so, and with an error when patience is over.
func poll(ctx context.Context, otherwise string, so func() (bool, error)) error {
	for until := time.Now().Add(patience); ; {
		ok, err := so()
		if ok || err != nil {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s after %v", otherwise, patience)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
