package dtchttp

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/failpoint"
)

// sender sends requests to one service and reads answers, for [Participant] and
// [Client] alike.
type sender struct {
	authorize func() (string, error) // makes the Authorization header; nil: none
	transport *http.Transport
}

// newSender reads the base URL of a service, which is returned without credentials,
// and returns what sends requests there. Errors begin with what the URL is, and do not
// show it: it may hold a password. They are a [dtc.ErrBadRequest].
func newSender(what, baseURL string, bearer func() (string, error), config *tls.Config, idle int) (*url.URL, *sender, error) {
	base, err := url.Parse(baseURL)
	wrong := func(how string) (*url.URL, *sender, error) {
		return nil, nil, fmt.Errorf("%w: %s %s", dtc.ErrBadRequest, what, how)
	}
	switch {
	case err != nil:
		return wrong("cannot be read")
	case base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "":
		return wrong("must begin with http:// or https:// and a host")
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return wrong("must end with its path: no query or fragment")
	case base.User != nil && bearer != nil:
		return wrong("has credentials, and there is a bearer token as well")
	case idle == 0:
		idle = 64
	}
	s := &sender{sendAuthorize(base.User, bearer), sendTransport(config, idle)}
	base.User = nil
	return base, s, nil
}

func sendTransport(config *tls.Config, idle int) *http.Transport {
	// A connection for each call that is out: with the many calls of HTTP/2 on one
	// connection, one that is dead without saying so takes all of them with it.
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &http1,
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        config.Clone(),
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    idle,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: callMaxAnswer,
		DisableCompression:     true, // what is read is bounded as it comes
	}
}

// sendAuthorize returns what makes the Authorization header, or nil. The secret stands
// in a closure only: no way of printing what holds it shows it.
func sendAuthorize(user *url.Userinfo, bearer func() (string, error)) func() (string, error) {
	switch {
	case user != nil:
		password, _ := user.Password()
		text := "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
		return func() (string, error) { return text, nil }
	case bearer != nil:
		return func() (string, error) {
			token, err := bearer()
			token = strings.TrimSpace(token)
			switch {
			case err != nil:
				return "", fmt.Errorf("reading the bearer token: %w", err)
			case token == "":
				return "", errors.New("reading the bearer token: it is empty")
			}
			return "Bearer " + token, nil
		}
	}
	return nil
}

// Values of headers that are the same in every call.
var (
	callJSON   = []string{"application/json"}
	callAgents = sync.OnceValue(func() []string { return []string{callUserAgent()} })
)

// send sends a request and reads the answer, up to a limit. An error says that no
// status came back. It names neither URL nor credentials: those are no part of
// what a transport's errors say.
//
// The Idempotency-Key of a POST request lets the transport repeat it by itself when a
// connection that was used before turns out to be closed. That is one more copy of a
// call that may come any number of times.
func (s *sender) send(r *http.Request, verb string, limit int64) (callAnswer, error) {
	r.Header["User-Agent"] = callAgents()
	r.Header["Accept"] = callJSON
	if trace := Traceparent(r.Context()); trace != "" {
		r.Header.Set("Traceparent", trace)
	}
	if s.authorize != nil {
		value, err := s.authorize()
		if err != nil {
			return callAnswer{}, fmt.Errorf("%s: %w", verb, err)
		}
		r.Header.Set("Authorization", value)
	}
	// Not by a client: it would follow redirects.
	failpoint.Hit(failpoint.HTTPSend)
	resp, err := s.transport.RoundTrip(r)
	failpoint.Hit(failpoint.HTTPAnswered)
	if err != nil {
		return callAnswer{}, fmt.Errorf("%s: %w", verb, err)
	}
	// Closed before it is read to its end, the connection is not used again.
	defer resp.Body.Close()
	a := callAnswer{verb: verb, status: resp.StatusCode, media: resp.Header.Get("Content-Type"), header: resp.Header}
	if a.status == http.StatusSwitchingProtocols {
		return a, nil // no body follows, but another protocol
	}
	if n := resp.ContentLength; n >= 0 && n <= min(limit, callMaxAnswer) {
		a.body = make([]byte, n)
		var got int
		got, a.cut = io.ReadFull(resp.Body, a.body)
		a.body = a.body[:got]
		if a.cut == nil {
			_, _ = resp.Body.Read(make([]byte, 1)) // its end, so that the connection is used again
		}
		return a, nil
	}
	a.body, a.cut = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if int64(len(a.body)) > limit {
		a.body, a.cut = a.body[:limit], fmt.Errorf("it is longer than %d bytes", limit)
	}
	return a, nil
}
