// Package conformance tells whether a service is a participant as the coordinator
// needs it: it calls the service over HTTP as the coordinator would on a bad day,
// and says in words what is wrong and what that leads to.
//
// It looks from outside only. What the service does with its data it sees in what
// it answers, in its list of branches in doubt if it serves one, and in what
// [Options.Observe] shows. What could not be tried without something that was not
// given is said, never passed over.
//
// Every case uses transactions of logs that no coordinator has, made of random
// bits, so that nothing real is touched, and rolls back what it left prepared. What
// it commits stays: run it against an instance that is there for tests.
package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options says what to test and with what. URL is required.
type Options struct {
	// URL is the participant's base URL.
	URL string
	// Participant is the id under which coordinators know it; "conformance" if
	// empty. A service may refuse branches of any other.
	Participant string
	// Payload is sent with prepare and must make the service vote vote_commit, as
	// often as it is asked; null if empty. AbortPayload must make it vote
	// vote_abort, and ReadOnlyPayload read_only; without them that is not tried.
	Payload, AbortPayload, ReadOnlyPayload json.RawMessage
	// Restart kills the service without warning and starts it again. It need not
	// wait until the service answers.
	Restart func(context.Context) error
	// Observe shows the effects of what the service did, as text that changes with
	// them and with nothing else: a balance, say. Numbers in it are compared as such.
	Observe func(context.Context) (string, error)
	// Timeout bounds each call, and how long the service may take to come back
	// after a restart. 10 s if zero.
	Timeout time.Duration
	// Authorize returns the value of the Authorization header of each call.
	Authorize func() (string, error)
	// Transport makes the calls; one of its own if nil. It must not be shared with
	// callers that count on its connections, and may be used from many goroutines.
	Transport http.RoundTripper
	// Only are the names of the cases to run; all if empty.
	Only []string
	// Each, if not nil, is called after each case, in order.
	Each func(Result)
}

// Verdict is how a case ended.
type Verdict string

// The verdicts.
const (
	OK       Verdict = "ok"
	Failed   Verdict = "fail"
	NotTried Verdict = "not_tried"
)

// Result is what became of one case.
type Result struct {
	Case     string    `json:"case"`
	Title    string    `json:"title"`
	Verdict  Verdict   `json:"verdict"`
	NotTried []string  `json:"not_tried,omitempty"` // what of the case was left out, and why
	Findings []Finding `json:"findings,omitempty"`
}

// Finding is one thing that is wrong.
type Finding struct {
	Sent string `json:"sent"`
	Got  string `json:"got"`
	Want string `json:"want"`
	Why  string `json:"why"` // what it leads to
}

// Report is what became of all of them.
type Report struct {
	URL         string   `json:"url"`
	Participant string   `json:"participant"`
	Listing     bool     `json:"listing"` // it serves in-doubt
	OK          int      `json:"ok"`
	Failed      int      `json:"failed"`
	NotTried    int      `json:"not_tried"`
	Cases       []Result `json:"cases"`
}

// scenario is one case.
type scenario struct {
	name, title string
	// needs says why the case cannot be tried, or nothing.
	needs func(*suite) string
	run   func(*check)
}

// Names returns the names of all cases with their titles, in the order in which
// they run.
func Names() (all [][2]string) {
	for _, s := range scenarios() {
		all = append(all, [2]string{s.name, s.title})
	}
	return all
}

func scenarios() []scenario {
	return slices.Concat(first, repeats, lateCalls, lowWaters, listings, inputs, races, restarts)
}

// suite is one run.
type suite struct {
	Options
	base    *url.URL
	listing bool
	ready   string // why nothing can be tried, or nothing
}

// Run runs the cases one after the other. An error says that the options make no
// sense, or that ctx ended; the report then has the cases up to there. What is
// wrong with the participant is in the report and is no error.
func Run(ctx context.Context, o Options) (Report, error) {
	s, err := newSuite(o)
	if err != nil {
		return Report{}, err
	}
	report := Report{URL: s.URL, Participant: s.Participant}
	s.meet(ctx)
	report.Listing = s.listing
	for _, c := range scenarios() {
		if len(s.Only) > 0 && !slices.Contains(s.Only, c.name) {
			continue
		}
		r := s.try(ctx, c)
		if ctx.Err() != nil {
			return report, ctx.Err() // whatever it found may be of the end alone
		}
		switch r.Verdict {
		case OK:
			report.OK++
		case Failed:
			report.Failed++
		case NotTried:
			report.NotTried++
		}
		report.Cases = append(report.Cases, r)
		if s.Each != nil {
			s.Each(r)
		}
	}
	return report, nil
}

func newSuite(o Options) (*suite, error) {
	o.Participant = cmp.Or(o.Participant, "conformance")
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	for _, p := range []*json.RawMessage{&o.Payload, &o.AbortPayload, &o.ReadOnlyPayload} {
		if len(*p) > 0 && !json.Valid(*p) {
			return nil, fmt.Errorf("the payload %.60q is no JSON", string(*p))
		}
	}
	if len(o.Payload) == 0 {
		o.Payload = json.RawMessage("null")
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is no URL of a participant: want http://host:port/path or https://…", o.URL)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, errors.New("the base URL has no query, fragment or user")
	}
	if u.Path == "" {
		u.Path = "/" // else what is joined to it would have none
	}
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy, t.MaxIdleConnsPerHost = nil, 64
		o.Transport = t
	}
	known := map[string]bool{}
	for _, c := range scenarios() {
		known[c.name] = true
	}
	for _, name := range o.Only {
		if !known[name] {
			return nil, fmt.Errorf("there is no case %q", name)
		}
	}
	return &suite{Options: o, base: u}, nil
}

// meet finds out whether somebody is there, and whether it serves in-doubt. A
// service that does so wrongly counts as one that means to.
func (s *suite) meet(ctx context.Context) {
	c := s.newCheck(ctx)
	a := c.persist(verbRollback, c.branch())
	if a.err != nil {
		s.ready = "the participant cannot be reached"
		return
	}
	a = c.ask(c.log, 0, "")
	switch a.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		s.listing = true
	}
}

// try runs one case and puts right what it left behind.
func (s *suite) try(ctx context.Context, sc scenario) (r Result) {
	r = Result{Case: sc.name, Title: sc.title, Verdict: OK}
	why := s.ready
	if sc.name == first[0].name {
		why = ""
	}
	if why == "" && sc.needs != nil {
		why = sc.needs(s)
	}
	if why != "" {
		r.Verdict, r.NotTried = NotTried, []string{why}
		return r
	}
	c := s.newCheck(ctx)
	c.runAndStop(sc.run)
	c.tidy()
	r.Findings, r.NotTried = c.findings, c.notTried
	if len(r.Findings) > 0 {
		r.Verdict = Failed
	}
	return r
}

func needsListing(s *suite) string {
	if s.listing {
		return ""
	}
	return "plain: the participant serves no in-doubt. Each transaction with it costs a second forced write"
}

// shorten cuts a text for people after n bytes.
func shorten(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + fmt.Sprintf("… (%d bytes)", len(text))
}
