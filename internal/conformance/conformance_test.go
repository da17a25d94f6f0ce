package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
)

func test(t *testing.T, m *model, change func(*Options)) Report {
	t.Helper()
	s := httptest.NewServer(m)
	defer s.Close()
	o := Options{
		URL: s.URL + "/p", Participant: "stock", AbortPayload: json.RawMessage(`"abort"`), ReadOnlyPayload: json.RawMessage(`"read-only"`),
		Restart:   func(context.Context) error { m.kill(); return nil },
		Observe:   func(context.Context) (string, error) { return m.observe(), nil },
		Authorize: func() (string, error) { return "Bearer secret", nil },
		Timeout:   30 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func failed(r Report) (names []string) {
	for _, c := range r.Cases {
		if c.Verdict == Failed {
			names = append(names, c.Case)
		}
	}
	return names
}

// TestConforming: a participant that keeps its promises fails nowhere, and has
// nothing left that a case prepared.
func TestConforming(t *testing.T) {
	m := newModel("")
	r := test(t, m, nil)
	for _, c := range r.Cases {
		if c.Verdict != OK || len(c.NotTried) > 0 {
			t.Errorf("%s: %s %v %+v", c.Case, c.Verdict, c.NotTried, c.Findings)
		}
	}
	if r.OK != len(Names()) || r.NotTried != 0 || r.Failed != 0 || !r.Listing {
		t.Errorf("counted %+v", r)
	}
	if m.reserved != 0 || slices.Contains(slices.Collect(maps.Values(m.rows)), "prepared") {
		t.Errorf("%d are still reserved", m.reserved)
	}
	if len(m.rows) > 100 {
		t.Errorf("%d rows of made-up logs are left", len(m.rows))
	}
}

// TestBroken: each bug is found, by the case that is about it.
func TestBroken(t *testing.T) {
	racing := map[string]bool{
		"concurrent-prepare": true, "concurrent-commit": true, "rollback-beside-prepare": true, "concurrent-branches": true, "hang-up": true,
	}
	found := map[string]bool{}
	bugs := map[string]string{
		"redirects":                                      "reachable",
		"answers with HTML":                              "vote",
		"words its vote otherwise":                       "vote",
		"lets everybody in":                              "authorization",
		"votes abort when it is asked again":             "prepare-repeat",
		"reserves again when it is asked again":          "prepare-repeat",
		"refuses a commit that is repeated":              "commit-repeat",
		"ships again when it is told again":              "commit-repeat",
		"keeps what it rolled back":                      "rollback-repeat",
		"gives back again when it is told again":         "rollback-repeat",
		"refuses a prepare after the commit":             "prepare-after-commit",
		"prepares again after the commit":                "prepare-after-commit",
		"keeps what it refused":                          "abort",
		"accepts a late prepare":                         "late-prepare",
		"caches answers by Idempotency-Key":              "late-prepare",
		"does not know what it never saw":                "rollback-first",
		"leaves no tombstone":                            "rollback-first",
		"refuses an empty tx_id":                         "rollback-first",
		"acknowledges a commit of the unknown":           "commit-unknown",
		"answers a commit of the unknown with 500":       "commit-unknown",
		"acknowledges a rollback after the commit":       "rollback-after-commit",
		"answers a rollback after the commit with 404":   "rollback-after-commit",
		"acknowledges a commit after the rollback":       "commit-after-rollback",
		"ignores low water":                              "low-water",
		"accepts a late prepare below low water":         "low-water",
		"knows nothing below low water":                  "low-water",
		"drops prepared rows below low water":            "low-water-prepared",
		"lets low water answer for a row that stands":    "low-water-prepared",
		"compares XIDs as text":                          "low-water-order",
		"has one low water for all logs":                 "low-water-other-log",
		"is keyed without the log":                       "low-water-other-log",
		"lists finished branches":                        "in-doubt",
		"does not say complete":                          "in-doubt",
		"misses one":                                     "in-doubt-paging",
		"words times otherwise":                          "in-doubt",
		"lists no branch names":                          "in-doubt",
		"lists every log":                                "in-doubt-log",
		"ends after one page":                            "in-doubt-paging",
		"ignores limit":                                  "in-doubt-paging",
		"pages by count":                                 "in-doubt-moving",
		"chokes on unknown fields":                       "unknown-fields",
		"answers 500 to garbage":                         "bad-json",
		"answers 200 to garbage":                         "bad-json",
		"reads 64 KiB only":                              "large-payload",
		"wants ASCII":                                    "tx-ids",
		"is keyed by tx_id":                              "tx-ids",
		"prepares without a lock":                        "concurrent-prepare",
		"commits without a lock":                         "concurrent-commit",
		"forgets prepared branches when it is killed":    "restart",
		"gives back what was prepared when it is killed": "restart",
		"forgets tombstones when it is killed":           "restart",
		"forgets what it committed when it is killed":    "restart",
		"does not keep its refusal":                      "abort",
		"keeps what it only read":                        "read-only",
		"understands traces only":                        "headers",
		"gives up when its caller does":                  "hang-up",
		"forgets the rollback beside a prepare":          "rollback-beside-prepare",
		"loses updates of others":                        "concurrent-branches",
		"keeps low water in memory only":                 "restart-low-water",
	}
	for bug, by := range bugs {
		found[by] = true
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			once := func() Report { return test(t, newModel(bug), func(o *Options) { o.Only = []string{by} }) }
			only := once()
			for n := 0; only.Failed != 1 && racing[by] && n < 20; n++ {
				only = once() // it shows itself only if two calls meet
			}
			if only.Failed != 1 {
				t.Fatalf("%s does not find it: %+v", by, only.Cases)
			}
			for _, f := range only.Cases[0].Findings {
				if f.Sent == "" || f.Got == "" || f.Want == "" || f.Why == "" {
					t.Errorf("a finding leaves something unsaid: %+v", f)
				}
			}
		})
	}
	tally.Add(t, "conformance", "broken participants over HTTP, each found out", int64(len(bugs)), 40)
	if names := needless(found); len(names) > 0 {
		t.Errorf("no bug is found by %q", names)
	}
}

func needless(found map[string]bool) (names []string) {
	for _, n := range Names() {
		if !found[n[0]] {
			names = append(names, n[0])
		}
	}
	return names
}

// TestPlain: what cannot list is asked for no list, and is no worse for it.
func TestPlain(t *testing.T) {
	r := test(t, newModel("is plain"), nil)
	for _, c := range r.Cases {
		lists := strings.HasPrefix(c.Case, "in-doubt")
		if lists != (c.Verdict == NotTried) || c.Verdict == Failed {
			t.Errorf("%s: %+v", c.Case, c)
		}
	}
	if r.Listing {
		t.Error("it is said to list")
	}
}

// TestNotTriedIsSaid: with nothing but a URL, each thing that was left out is named.
func TestNotTriedIsSaid(t *testing.T) {
	r := test(t, newModel(""), func(o *Options) { o.Restart, o.Observe, o.AbortPayload = nil, nil, nil })
	said := map[string]string{}
	for _, c := range r.Cases {
		if c.Verdict == Failed {
			t.Errorf("%+v", c)
		}
		said[c.Case] = strings.Join(c.NotTried, "; ")
	}
	for name, want := range map[string]string{
		"restart": "--restart", "restart-low-water": "--restart", "abort": "--abort-payload",
		"prepare-repeat": "--observe", "concurrent-prepare": "--observe",
	} {
		if !strings.Contains(said[name], want) {
			t.Errorf("%s says %q, want something of %s", name, said[name], want)
		}
	}
}

// TestUnreachable: one case fails, and the others are not blamed.
func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	r, err := Run(t.Context(), Options{URL: s.URL})
	if err != nil || !slices.Equal(failed(r), []string{"reachable"}) || r.OK != 0 || len(r.Cases) != len(Names()) {
		t.Errorf("%v: %+v", err, r)
	}
}

// TestCancelled: whoever interrupts it gets no verdict, and what it had prepared is
// rolled back.
func TestCancelled(t *testing.T) {
	m := newModel("")
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, verbPrepare) {
			cancel()
		}
	}))
	defer s.Close()
	_, err := Run(ctx, Options{
		URL: s.URL + "/p", Participant: "stock", Only: []string{"restart"},
		Restart:   func(context.Context) error { return nil },
		Authorize: func() (string, error) { return "Bearer secret", nil },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if m.observe() != newModel("").observe() {
		t.Errorf("something is left: %s", m.observe())
	}
}

// TestBase: calls go to the base URL's path and one word more, however the base ends.
func TestBase(t *testing.T) {
	for base, prefix := range map[string]string{"": "/", "/": "/", "/a": "/a/", "/a/b/": "/a/b/"} {
		asked := map[string]bool{}
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked[r.URL.EscapedPath()] = true }))
		if _, err := Run(t.Context(), Options{URL: s.URL + base, Only: []string{"reachable"}}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if !asked[prefix+verbRollback] || !asked[prefix+verbInDoubt] || len(asked) != 2 {
			t.Errorf("%q: asked for %v", base, asked)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{URL: "localhost:80"},
		{URL: "ftp://x"},
		{URL: "http://x/?a=b"},
		{URL: "http://x", Payload: json.RawMessage("{")},
		{URL: "http://x", Only: []string{"nothing"}},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
