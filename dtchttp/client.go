package dtchttp

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/dtc-project/dtc"
)

// ClientOptions changes the defaults of [NewClient]. The zero value, and nil, are good
// for a coordinator without TLS settings or authentication.
type ClientOptions struct {
	// Bearer, if not nil, returns the token that is sent as "Authorization:
	// Bearer …". It is called for each request, from several goroutines, so that a
	// token can be renewed, and must not wait for long. If it fails the request is
	// not sent. Not together with credentials in the URL.
	Bearer func() (string, error)
	// TLS is for https: own roots, client certificates, server name. It is copied.
	// nil means the system's roots.
	TLS *tls.Config
	// MaxIdleConns is how many connections are kept while they are not used; zero
	// means 64. Give it the number of calls that run at a time, or connections are
	// dialled anew under load.
	MaxIdleConns int
	// RetryRefused makes a call wait and try again, until its context ends, also
	// when nothing was begun: the coordinator cannot be reached, is full, is
	// draining, or not ready yet. Otherwise such a call fails at once, and its caller
	// decides.
	RetryRefused bool
	// AttemptTimeout is how long an answer is waited for; zero means 30 s. A call
	// that runs a transaction then asks again, and joins what it has begun; the
	// timeouts that a call asks for come on top. Questions fail.
	AttemptTimeout time.Duration
}

// Client calls the control API of a coordinator that is served by `dtc serve`, or any
// [ControlHandler]. It has the verbs of [dtc.Coordinator], with the same errors, and
// those of the server's are a [*Problem] as well. It is made by [NewClient] and may be
// used by many goroutines at once.
//
// # When an answer is lost
//
// A request whose answer does not come (the connection breaks, the time is over, a
// proxy answers in the coordinator's stead) may or may not have been carried out. A
// Client never guesses. Calls that run, grow or end a transaction are repeated with the
// same id, with exponential back-off, until there is an answer: what has begun is
// joined, what has ended is remembered, and nothing runs twice. When the context ends
// first the error is [dtc.ErrInDoubt], and it is never [dtc.ErrRolledBack]: the
// coordinator goes on. Ask again by id, or make the same call again. So a context that
// never ends makes a call wait for a coordinator that never comes back.
//
// After an error that is none of [dtc.ErrRolledBack], [dtc.ErrInDoubt] and
// [*dtc.HeuristicError] nothing was begun.
type Client struct {
	base    *url.URL // without credentials; the path does not end in a slash
	sender  *sender
	refused bool
	attempt time.Duration
}

// NewClient returns a client of the coordinator at a base URL, http or https. Nothing is
// called yet. A user and password in the URL are sent as basic authentication and stand
// in no error or String; a query or fragment is refused. Proxies are taken from the
// environment, as [net/http.ProxyFromEnvironment] does. Redirects are not followed. The
// error is a [dtc.ErrBadRequest].
func NewClient(baseURL string, opts *ClientOptions) (*Client, error) {
	var o ClientOptions
	if opts != nil {
		o = *opts
	}
	switch {
	case o.MaxIdleConns < 0:
		return nil, fmt.Errorf("%w: ClientOptions.MaxIdleConns is negative; leave it zero for the default", dtc.ErrBadRequest)
	case o.AttemptTimeout < 0:
		return nil, fmt.Errorf("%w: ClientOptions.AttemptTimeout is negative; leave it zero for the default", dtc.ErrBadRequest)
	case o.AttemptTimeout == 0:
		o.AttemptTimeout = 30 * time.Second
	}
	base, s, err := newSender("the URL of the coordinator", baseURL, o.Bearer, o.TLS, o.MaxIdleConns)
	if err != nil {
		return nil, err
	}
	base.RawPath = strings.TrimRight(base.EscapedPath(), "/")
	base.Path = strings.TrimRight(base.Path, "/")
	return &Client{base: base, sender: s, refused: o.RetryRefused, attempt: o.AttemptTimeout}, nil
}

// URL returns the base URL, without credentials.
func (c *Client) URL() string { return c.base.String() }

// String returns the base URL, without credentials.
func (c *Client) String() string { return "the coordinator at " + c.URL() }

// Close closes the connections that are not in use. Calls that run are left to their
// contexts. It always returns nil.
func (c *Client) Close() error {
	c.sender.transport.CloseIdleConnections()
	return nil
}

// clientPath joins the segments of a path, each of which may hold any character.
func clientPath(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		switch s {
		case ".", "..": // which would be taken for a way through the path
			b.WriteString(strings.ReplaceAll(s, ".", "%2E"))
		default:
			b.WriteString(url.PathEscape(s))
		}
	}
	return b.String()
}

// at returns the URL of a call.
func (c *Client) at(path string, query url.Values) (*url.URL, error) {
	u := *c.base
	plain, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath, u.RawQuery = c.base.Path+plain, c.base.EscapedPath()+path, query.Encode()
	return &u, nil
}
