// Package front is what stands before the handlers of `dtc serve`: the limits of a
// server that strangers may reach.
//
//  1. A connection that sends nothing, or slowly, is closed; so is one that does not
//     take its answer. How long a transaction takes has no bearing on that.
//  2. There are never more connections than were allowed. Others wait until one is
//     closed, in the queue of the kernel.
//  3. A page in a browser on the same machine can make the server do nothing:
//     requests that change something and come from another origin are refused, and
//     where there is no authentication so are those for a name that is not this
//     machine's (DNS rebinding).
package front

import (
	"crypto/tls"
	"encoding/json"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options of a server.
type Options struct {
	Log *slog.Logger
	TLS *tls.Config // nil: none
	// LocalNames refuses requests for a Host that is neither an IP address nor
	// localhost.
	LocalNames bool
	// Patience is how long a request, and a part of an answer, may take to go over
	// the wire; zero means 30 s.
	Patience time.Duration
}

// New returns a server. With TLS it is to be started with ServeTLS.
func New(h http.Handler, o Options) *http.Server {
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, "a page of another origin may not call this server")
	}))
	h = cross.Handler(h)
	if o.LocalNames {
		h = localNames(h)
	}
	return &http.Server{
		Handler:           &paced{h, o.Patience},
		TLSConfig:         o.TLS,
		ReadHeaderTimeout: min(10*time.Second, o.Patience),
		ReadTimeout:       o.Patience,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.New(&complaints{log: o.Log}, "", 0),
	}
}

// localNames lets pass what a browser cannot have been tricked into: a name that an
// attacker controls may lead to this machine, an address or localhost is what it says.
func localNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if net.ParseIP(host) == nil && !strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
			refuse(w, "this server has no authentication, so it must be called by its IP address or as localhost, not by another name")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers 403 as the control API does.
func refuse(w http.ResponseWriter, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]any{ // whoever asked may have gone away
		"title": "Forbidden", "status": http.StatusForbidden, "code": "forbidden", "detail": detail,
	})
}

// paced bounds how long the parts of an answer may take to be written, and not how
// long it takes until there is one, as the server's WriteTimeout would.
type paced struct {
	next     http.Handler
	patience time.Duration
}

func (p *paced) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.next.ServeHTTP(&pacedWriter{w, http.NewResponseController(w), p.patience}, r)
}

type pacedWriter struct {
	http.ResponseWriter
	c        *http.ResponseController
	patience time.Duration
}

// Unwrap is for [http.ResponseController].
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) WriteHeader(status int) {
	_ = w.c.SetWriteDeadline(time.Now().Add(w.patience))
	w.ResponseWriter.WriteHeader(status)
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	_ = w.c.SetWriteDeadline(time.Now().Add(w.patience))
	return w.ResponseWriter.Write(b)
}

// complaints are what net/http has to say of connections: handshakes that failed. It
// is strangers who cause them, so there is a line a second at most.
type complaints struct {
	log *slog.Logger

	mu     sync.Mutex
	last   time.Time
	unsaid int
}

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.last) < time.Second {
		c.unsaid++
		return len(b), nil
	}
	c.log.Info("a connection failed", "error", strings.TrimSpace(string(b)), "others", c.unsaid)
	c.last, c.unsaid = now, 0
	return len(b), nil
}
