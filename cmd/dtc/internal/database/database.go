// Package database makes databases participants of `dtc serve`, each by its URL. Their
// branches are SQL statements, or were prepared by somebody else and are adopted.
//
//  1. A database that cannot be reached holds nothing up: until it can be, its branches
//     get no answer, as those of a service that is down.
//  2. A database that can be reached, and cannot keep what a participant promises, is
//     refused with what to change.
//  3. Nothing that this package says holds a password, a statement or its arguments.
package database

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/dtc-project/dtc"
)

// Source says which database, and how it is reached.
type Source struct {
	URL      string
	Password func() (string, error) // asked at each connection; nil: that of the URL, if any
	Conns    int                    // on which the statements of branches run; more finish them
}

// ErrUnusable: the database can be reached, and must not be a participant as it is.
var ErrUnusable = errors.New("the database cannot take part in transactions")

// Finding is what a look at a database has shown.
type Finding struct {
	Bad          bool // the server cannot be a participant, or may lose what it has promised
	What, Advice string
}

// unusable returns an error of an adapter, which says the same in its own words before it
// says why, as one of ErrUnusable.
func unusable(err, own error) error {
	if _, why, ok := strings.Cut(err.Error(), own.Error()+": "); ok {
		return fmt.Errorf("%w: %s", ErrUnusable, why)
	}
	return fmt.Errorf("%w: %w", ErrUnusable, err)
}

// forbidden returns the error of an account that lacks a right: what is bad of what a look
// has found, which says what to grant, or else what the server has said.
func forbidden(found []Finding, err error) error {
	for _, f := range found {
		if f.Bad {
			return fmt.Errorf("%w: %s: %s", ErrUnusable, f.What, f.Advice)
		}
	}
	return fmt.Errorf("%w: %w", ErrUnusable, err)
}

// opened is a participant of one of the kinds.
type opened interface {
	dtc.Participant
	dtc.Lister
	Close()
}

// kind is what a kind of database can do.
type kind struct {
	name  string
	tls   string // the parameters of a URL that concern TLS
	check func(u *url.URL) error
	open  func(ctx context.Context, id string, s *Source) (opened, error)
	look  func(ctx context.Context, s *Source) ([]Finding, error)
}

// kinds are the kinds by the scheme of a URL.
var kinds = map[string]*kind{
	"mariadb":    &mySQL,
	"mysql":      &mySQL,
	"postgres":   &postgreSQL,
	"postgresql": &postgreSQL,
}

// Kind returns what kind of database a URL names, or "".
func Kind(rawURL string) string {
	scheme, _, _ := strings.Cut(rawURL, "://")
	if k := kinds[strings.ToLower(scheme)]; k != nil {
		return k.name
	}
	return ""
}

// TLSParameters returns which parameters of the URL of a database concern TLS.
func TLSParameters(rawURL string) string {
	if k := kinds[Kind(rawURL)]; k != nil {
		return k.tls
	}
	return ""
}

// Check says what is wrong with the URL of a database, without calling it.
func Check(rawURL string) error {
	k, u, err := parse(rawURL)
	if err != nil {
		return err
	}
	return k.check(u)
}

func parse(rawURL string) (*kind, *url.URL, error) {
	k := kinds[Kind(rawURL)]
	u, err := url.Parse(rawURL)
	switch {
	case k == nil:
		return nil, nil, errors.New("its url is not that of a database")
	case err != nil: // it would show all of it
		return nil, nil, errors.New("its url cannot be read; write " + k.name + "://USER@HOST:PORT/DATABASE, and escape what is special in it with %")
	}
	u.Scheme = k.name
	return k, u, nil
}

// Address returns a URL without what may be secret: of the parameters some are.
func Address(rawURL string) string {
	_, u, err := parse(rawURL)
	if err != nil {
		return "(a URL that cannot be read)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// Look says what stands in the way of transactions at a database, and changes nothing.
func Look(ctx context.Context, s Source) ([]Finding, error) {
	k, _, err := parse(s.URL)
	if err != nil {
		return nil, err
	}
	return k.look(ctx, &s)
}

// Participant is a database that is opened when it can be reached. Its methods may be
// called concurrently.
type Participant struct {
	id      string
	source  Source
	kind    *kind
	opening chan struct{} // held by who opens it

	mu     sync.Mutex
	now    opened // nil: not yet
	closed bool
}

// New makes a participant. The database is not called yet.
func New(id string, s Source) (*Participant, error) {
	k, _, err := parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("participant %s: %w", id, err)
	}
	return &Participant{id: id, source: s, kind: k, opening: make(chan struct{}, 1)}, nil
}

// ID implements [dtc.Participant].
func (p *Participant) ID() string { return p.id }

// Kind returns the kind of database.
func (p *Participant) Kind() string { return p.kind.name }

// URL returns where it is, without what may be secret.
func (p *Participant) URL() string { return Address(p.source.URL) }

// Listing implements [dtc.Lister].
func (p *Participant) Listing() bool { return true }

// Probe opens the database, if it is not open yet.
func (p *Participant) Probe(ctx context.Context) error {
	_, err := p.use(ctx)
	return err
}

var errClosed = errors.New("the participant was closed")

// use returns the database, which it opens if nobody has.
func (p *Participant) use(ctx context.Context) (opened, error) {
	if now, err := p.opened(); now != nil || err != nil {
		return now, err
	}
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%s is being opened: %w", p.id, ctx.Err())
	}
	if now, err := p.opened(); now != nil || err != nil {
		return now, err
	}
	made, err := p.kind.open(ctx, p.id, &p.source)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		made.Close()
		return nil, errClosed
	}
	p.now = made
	return made, nil
}

func (p *Participant) opened() (opened, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	return p.now, nil
}

// Prepare implements [dtc.Participant].
func (p *Participant) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	d, err := p.use(ctx)
	switch {
	case errors.Is(err, ErrUnusable):
		return dtc.VoteAbort, err
	case err != nil:
		return dtc.VoteAbort, dtc.NoAnswer(err)
	}
	return d.Prepare(ctx, b)
}

// Commit implements [dtc.Participant].
func (p *Participant) Commit(ctx context.Context, b dtc.Branch) error {
	d, err := p.use(ctx)
	if err != nil {
		return err
	}
	return d.Commit(ctx, b)
}

// Rollback implements [dtc.Participant].
func (p *Participant) Rollback(ctx context.Context, b dtc.Branch) error {
	d, err := p.use(ctx)
	if err != nil {
		return err
	}
	return d.Rollback(ctx, b)
}

// InDoubt implements [dtc.Lister].
func (p *Participant) InDoubt(ctx context.Context, log dtc.LogID) ([]dtc.InDoubtBranch, error) {
	d, err := p.use(ctx)
	if err != nil {
		return nil, err
	}
	return d.InDoubt(ctx, log)
}

// Close closes the connections. Calls that run are ended.
func (p *Participant) Close() error {
	p.mu.Lock()
	now := p.now
	p.now, p.closed = nil, true
	p.mu.Unlock()
	if now != nil {
		now.Close()
	}
	return nil
}
