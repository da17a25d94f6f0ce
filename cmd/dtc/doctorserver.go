package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/dtc-project/dtc/dtchttp"
)

// How old may it get before somebody should look.
const (
	doctorInDoubt = 2 * time.Minute
	doctorExpiry  = 14 * 24 * time.Hour
	doctorClock   = 5 * time.Second
)

// server looks at a running server.
func (e *examination) server(ctx context.Context, c *dtchttp.Client, r *remote) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		var problem *dtchttp.Problem
		if !errors.As(err, &problem) {
			e.add(levelBad, "server", "start it with 'dtc serve', or say with --server where it is", "%s does not answer: %v", c.URL(), err)
			return
		}
		e.add(levelBad, "server", "its log lines say more; 'curl "+c.URL()+"/readyz?verbose' says which check fails", "%s is not ready: %v", c.URL(), err)
	} else {
		e.add(levelOK, "server", "", "%s is ready", c.URL())
	}
	e.certificate(ctx, c, r)
	e.clock(ctx, c, r)
	now := time.Now()
	for p, err := range c.Participants(ctx) {
		if err != nil {
			advice := "look with --token-file of a caller in the role observer"
			if problem := new(dtchttp.Problem); !errors.As(err, &problem) || problem.Code != "unauthorized" && problem.Code != "forbidden" {
				advice = "see whether it is 'dtc serve' that answers at " + c.URL()
			}
			e.add(levelBad, "server", advice, "the participants cannot be listed: %v", err)
			return
		}
		e.participant(p, now)
	}
	e.transactions(ctx, c, now)
}

func (e *examination) participant(p dtchttp.ParticipantStatus, now time.Time) {
	waits := ""
	if p.OldestInDoubt != nil {
		waits = ", the oldest for " + txAge(p.OldestInDoubt, now)
	}
	if p.Orphans > 0 {
		e.add(levelWarn, "participant", "the server's log names those that are left alone, with 'a participant holds a branch in doubt': ask 'dtc log explain', and finish them there by hand",
			"%s holds %d branches prepared that no transaction owns", p.ID, p.Orphans)
	}
	switch {
	case p.Kind == "" && p.InDoubt > 0:
		e.add(levelBad, "participant", "put it back into the configuration until they are finished",
			"%s left the configuration, and %d branches wait for it%s", p.ID, p.InDoubt, waits)
	case p.State == "down":
		e.add(levelBad, "participant", "bring it back: what waits is called within seconds",
			"%s at %s does not answer (%s); %d branches are not finished there%s", p.ID, p.URL, p.LastError, p.InDoubt, waits)
	case p.OldestInDoubt != nil && now.Sub(time.Time(*p.OldestInDoubt)) > doctorInDoubt:
		e.add(levelWarn, "participant", "'dtc tx list --participant "+p.ID+"' shows what waits, and why",
			"%s answers, but %d branches are not finished there%s", p.ID, p.InDoubt, waits)
	case p.State == "unknown":
		e.add(levelOK, "participant", "", "%s at %s has not been called yet", p.ID, p.URL)
	default:
		kind := "plain: its transactions take one forced write more"
		if p.Listing {
			kind = "lists what it holds in doubt"
		}
		e.add(levelOK, "participant", "", "%s at %s is up, and %s", p.ID, p.URL, kind)
	}
}

// transactions looks for those that somebody must look at.
func (e *examination) transactions(ctx context.Context, c *dtchttp.Client, now time.Time) {
	n, held, quarantined := 0, 0, 0
	var oldest *dtchttp.Time
	example := map[string]string{}
	for t, err := range c.Transactions(ctx, dtchttp.TransactionsFilter{}) {
		if err != nil {
			e.add(levelBad, "transaction", "", "they cannot be listed: %v", err)
			return
		}
		n++
		oldest = t.Started // newest first
		if t.Held {
			held++
		}
		for _, b := range t.Branches {
			if b.State == "quarantined" {
				quarantined++
				example["quarantined"] = txName(t)
			}
		}
	}
	// Most of these have ended, and stand in no list of what is unfinished.
	heuristic := 0
	for t, err := range c.Transactions(ctx, dtchttp.TransactionsFilter{State: "heuristic"}) {
		if err != nil {
			e.add(levelBad, "transaction", "", "they cannot be listed: %v", err)
			return
		}
		if heuristic++; heuristic == 1 {
			example["heuristic"] = txName(t)
		}
	}
	if quarantined > 0 {
		e.add(levelBad, "transaction", "dtc tx show "+shellWord(example["quarantined"]), "%d branches are quarantined: their participants broke their promise", quarantined)
	}
	if heuristic > 0 {
		e.add(levelBad, "transaction", "'dtc tx list --state heuristic' names them, 'dtc tx show "+shellWord(example["heuristic"])+"' the last: put right by hand what its participants hold", "%d did not end alike everywhere", heuristic)
	}
	if held > 0 {
		e.add(levelBad, "transaction", "compare the participants with the log, stop the server, then 'dtc log release'", "%d are covered by a recovery hold", held)
	}
	level, advice := levelOK, ""
	if oldest != nil && now.Sub(time.Time(*oldest)) > doctorInDoubt {
		level, advice = levelWarn, "'dtc tx list' shows what each waits for"
	}
	age := ""
	if oldest != nil {
		age = ", the oldest was begun " + txAge(oldest, now) + " ago"
	}
	e.add(level, "transaction", advice, "%d are not finished everywhere%s", n, age)
}

// clock compares the server's clock with this machine's, as far as a header tells that
// counts whole seconds.
func (e *examination) clock(ctx context.Context, c *dtchttp.Client, r *remote) {
	cfg, err := r.tls()
	if err != nil {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+"/livez", nil)
	if err != nil {
		return
	}
	transport := &http.Transport{TLSClientConfig: cfg, Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	asked := time.Now()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return // that it does not answer is said by another finding
	}
	defer answer.Body.Close()
	told, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return
	}
	e.clocks(told, asked, time.Now())
}

// clocks judges a time that a server told between two times of this machine.
func (e *examination) clocks(told, asked, answered time.Time) {
	var off time.Duration
	word := "ahead of"
	switch {
	case told.After(answered):
		off = told.Sub(answered)
	case told.Add(time.Second).Before(asked): // the rest of a second is not told
		off, word = asked.Sub(told.Add(time.Second)), "behind"
	}
	if off <= doctorClock {
		e.add(levelOK, "server", "", "its clock and this machine's agree to within %s", doctorClock)
		return
	}
	e.add(levelWarn, "server", "set both by NTP: ages are told wrongly, and certificates may seem to have ended or not begun",
		"its clock is %s %s this machine's", txDuration(off), word)
}

// certificate looks at what the server shows.
func (e *examination) certificate(ctx context.Context, c *dtchttp.Client, r *remote) {
	u, err := url.Parse(c.URL())
	if err != nil || u.Scheme != "https" {
		return
	}
	cfg, err := r.tls()
	if err != nil {
		return
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", host)
	if err != nil {
		e.add(levelBad, "server", "say with --ca-file who vouches for it", "its certificate is not accepted: %v", err)
		return
	}
	defer conn.Close()
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	left := time.Until(leaf.NotAfter)
	level, advice := levelOK, ""
	if left < doctorExpiry {
		level, advice = levelWarn, "renew it: a running server reads the new files by itself"
	}
	e.add(level, "server", advice, "its certificate is good for %d days", int(left.Hours()/24))
}
