package dtchttp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/dtc-project/dtc"
)

// ParticipantOptions changes the defaults of [NewParticipant]. The zero value,
// and nil, are good for a participant without TLS settings or authentication.
type ParticipantOptions struct {
	// Bearer, if not nil, returns the token that is sent as "Authorization:
	// Bearer …". It is called for each request, from several goroutines, so that a
	// token can be renewed, and must not wait for long; white space around the
	// token is dropped. If it fails the request is not sent, and counts as
	// unanswered. Not together with credentials in the URL.
	Bearer func() (string, error)
	// TLS is for https: own roots, client certificates (GetClientCertificate if
	// they are renewed), server name. It is copied. nil means the system's roots.
	TLS *tls.Config
	// MaxIdleConns is how many connections are kept while they are not used; zero
	// means 64, the default of [dtc.Timing]'s Concurrency. Give it the value of
	// Concurrency, or connections are dialled anew under load.
	MaxIdleConns int
}

// Participant calls a participant that serves HTTP. It is a [dtc.Participant] and
// a [dtc.Lister], is made by [NewParticipant], and may be used by many goroutines
// at once.
//
// It counts as plain until the service has answered a question for what it holds
// in doubt; see [Participant.Listing] and [Participant.Probe].
type Participant struct {
	id     string
	base   *url.URL // without credentials
	calls  map[string]*url.URL
	sender *sender

	listing   atomic.Bool
	probing   atomic.Bool
	nextProbe atomic.Int64 // Unix nanoseconds: not before then
	probes    sync.WaitGroup
	mu        sync.Mutex // probes.Add does not race with probes.Wait
	ctx       context.Context
	cancel    context.CancelFunc
}

var (
	_ dtc.Participant = (*Participant)(nil)
	_ dtc.Lister      = (*Participant)(nil)
)

// NewParticipant returns the participant of the given id that is served at
// baseURL, http or https, with calls at baseURL/prepare, /commit, /rollback and
// /in-doubt. Nothing is called yet. A user and password in the URL are sent as
// basic authentication and stand in no error or String; a query or fragment is
// refused. Proxies are taken from the environment, as [http.ProxyFromEnvironment]
// does. Close it when the coordinator is closed.
//
// Each call lasts as long as its context; the coordinator sets one for each
// attempt. Redirects are not followed. Of an answer at most 64 KiB are read, of a
// page of the listing 4 MiB; what is longer is not understood, which is no vote.
//
// A payload must be JSON; the vote about any other is a refusal, and nothing is
// sent. No payload is sent as null.
//
// The error is a [dtc.ErrBadRequest].
func NewParticipant(id, baseURL string, opts *ParticipantOptions) (*Participant, error) {
	if err := partCheckID(id); err != nil {
		return nil, err
	}
	var o ParticipantOptions
	if opts != nil {
		o = *opts
	}
	if o.MaxIdleConns < 0 {
		return nil, fmt.Errorf("%w: ParticipantOptions.MaxIdleConns is negative; leave it zero for the default", dtc.ErrBadRequest)
	}
	base, calls, err := newSender("the URL of participant "+id, baseURL, o.Bearer, o.TLS, o.MaxIdleConns)
	if err != nil {
		return nil, err
	}
	p := &Participant{id: id, base: base, sender: calls}
	p.calls = map[string]*url.URL{}
	root := *base
	if root.Path == "" {
		root.Path = "/" // else what is joined to it would have none
	}
	for _, verb := range []string{partPrepare, partCommit, partRollback} {
		p.calls[verb] = root.JoinPath(verb)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// ID implements [dtc.Participant].
func (p *Participant) ID() string { return p.id }

// URL returns the base URL, without credentials.
func (p *Participant) URL() string { return p.base.String() }

// String returns the id and the base URL, without credentials.
func (p *Participant) String() string { return p.id + " at " + p.URL() }

// Close ends a question for the listing that Listing has asked in the
// background, and closes the connections that are not in use. Calls that run are
// left to their contexts. It always returns nil.
func (p *Participant) Close() error {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.probes.Wait()
	p.sender.transport.CloseIdleConnections()
	return nil
}

// Prepare implements [dtc.Participant]. The vote is that of a 200 answer, with its
// reason if it is vote_abort. A 4xx other than 408, 425 and 429 is a
// [dtc.Fault] with the first line of the body, or the detail of a problem
// document, as its text. Anything else is a [dtc.NoAnswer].
func (p *Participant) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	body, err := callPrepareBody(b)
	if err != nil {
		return dtc.VoteAbort, dtc.Refuse(err) // so will be every attempt: nothing was ever sent
	}
	a, err := p.post(ctx, partPrepare, b, body)
	if err != nil {
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	return a.vote()
}

// Commit implements [dtc.Participant]. Any 2xx is an acknowledgement; 409 with the
// state rolled_back is a [*dtc.FinishedError], 404 and 410 are
// [dtc.ErrUnknownBranch]. A lost connection, and the answers of a service that is
// down or busy (408, 425, 429, 502, 503, 504), are a [dtc.NoAnswer]; anything else
// is an error of this branch alone.
func (p *Participant) Commit(ctx context.Context, b dtc.Branch) error {
	return p.finish(ctx, partCommit, dtc.Committed, b)
}

// Rollback implements [dtc.Participant], like Commit.
func (p *Participant) Rollback(ctx context.Context, b dtc.Branch) error {
	return p.finish(ctx, partRollback, dtc.RolledBack, b)
}

func (p *Participant) finish(ctx context.Context, verb string, want dtc.Outcome, b dtc.Branch) error {
	body, err := callFinishBody(b)
	if err != nil {
		return err
	}
	a, err := p.post(ctx, verb, b, body)
	if err != nil {
		return dtc.NoAnswer(err)
	}
	return a.finished(want)
}
