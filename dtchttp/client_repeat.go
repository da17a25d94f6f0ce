package dtchttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
)

// Of an answer so many bytes are read: a document may have a thousand branches, each
// with the text of an error, and a page a hundred documents.
const clientMaxAnswer = 8 << 20

// clientCall is a request that may be sent again.
type clientCall struct {
	id     dtc.TxID // in errors
	method string
	path   string
	query  url.Values
	body   []byte
	extra  time.Duration // what the coordinator may take beyond the attempt timeout
}

// clientFate says what became of what an attempt asked for.
type clientFate int

const (
	clientDone    clientFate = iota // a 2xx answer, which may not be understood
	clientRefused                   // it was not carried out, nor will be
	clientBusy                      // it was not carried out; later it may be
	clientUnknown                   // it may have been carried out
)

// try sends a request once.
func (c *Client) try(ctx context.Context, q *clientCall) (callAnswer, clientFate, error) {
	u, err := c.at(q.path, q.query)
	if err != nil {
		return callAnswer{}, clientRefused, fmt.Errorf("%w: the path cannot be made", dtc.ErrBadRequest)
	}
	ctx, cancel := context.WithTimeout(ctx, c.attempt+q.extra)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	r := (&http.Request{Method: q.method, URL: u, Host: u.Host, Header: make(http.Header, 8)}).WithContext(ctx)
	if q.method != http.MethodGet {
		r.ContentLength = int64(len(q.body))
		r.Body = io.NopCloser(bytes.NewReader(q.body))
		r.Header["Content-Type"] = callJSON
		// No Idempotency-Key: it would let the transport repeat the request by itself,
		// and nobody would know that an earlier one may have been carried out.
	}
	a, err := c.sender.send(r, q.method, clientMaxAnswer)
	switch {
	case err != nil && !connected.Load():
		return a, clientBusy, &clientUnsent{err}
	case err != nil:
		return a, clientUnknown, fmt.Errorf("no answer from the coordinator: %w", err)
	case a.status >= 200 && a.status <= 299:
		return a, clientDone, nil
	}
	p := a.problem()
	switch {
	case p.busy():
		return a, clientBusy, p
	case p.refused():
		return a, clientRefused, p
	}
	return a, clientUnknown, p
}

// repeat sends a request until there is an answer that read understands.
func (c *Client) repeat(ctx context.Context, q *clientCall, read func(callAnswer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	lost := false // an earlier attempt may have been carried out
	for n := 0; ; n++ {
		a, fate, err := c.try(ctx, q)
		switch fate {
		case clientDone:
			if err = read(a); err == nil {
				return nil
			}
			err = fmt.Errorf("the answer of the coordinator is not understood: %w", err)
			lost = true
		case clientRefused:
			// A conflict says that the id is another request's: ours did not run.
			if lost && !errors.Is(err, dtc.ErrTxConflict) {
				return clientDoubt(q.id, err)
			}
			return err
		case clientBusy:
			if !lost && !c.refused {
				return err
			}
		case clientUnknown:
			lost = true
		}
		if ended := clientPause(ctx, n, a.retryAfter()); ended != nil {
			if lost {
				return clientDoubt(q.id, fmt.Errorf("%w; the last attempt: %w", ended, err))
			}
			return fmt.Errorf("%w: %w", err, ended)
		}
	}
}

// once sends a request that only asks.
func (c *Client) once(ctx context.Context, q *clientCall, read func(callAnswer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a, fate, err := c.try(ctx, q)
	if fate == clientDone {
		if err = read(a); err != nil {
			err = fmt.Errorf("the answer of the coordinator is not understood: %w", err)
		}
	}
	return err
}

// The longest pauses between attempts. Each is drawn at random between nothing and that
// (full jitter), so that clients which lost their coordinator together do not come back
// together.
const (
	clientFirstPause = 50 * time.Millisecond
	clientLastPause  = time.Second
)

// clientPause waits after the n-th attempt, for at least as long as was asked for.
func clientPause(ctx context.Context, n int, least time.Duration) error {
	pause := min(clientFirstPause<<min(n, 16), clientLastPause)
	pause = max(rand.N(pause)+1, least)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
