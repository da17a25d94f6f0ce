package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/dtchttp"
)

// waiting starts a server over a and b, and leaves transactions that b voted for and
// has not heard the decision of.
func waiting(t *testing.T, ids ...string) (*running, *service) {
	t.Helper()
	a, b := newService(t, "a", true), newService(t, "b", true)
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL, "--participant", "b="+b.URL, "--completion-wait", "0s")
	b.deaf.Store(true) // it votes, and no decision reaches it in between
	for _, id := range ids {
		tx := r.transaction(r.want(200, "POST", "/v1/transactions", branchesOf(id, "a", "b")))
		if tx.Outcome == nil || *tx.Outcome != "committed" {
			t.Fatalf("%+v", tx)
		}
	}
	b.away.Store(true)
	b.deaf.Store(false)
	until(t, "b was missed", func() bool { return strings.Contains(r.want(200, "GET", "/v1/transactions", ""), "503") })
	return r, b
}

// TestTxList: what is unfinished, with what it waits for; filtered, bounded, and for
// programs.
func TestTxList(t *testing.T) {
	r, b := waiting(t, "order-1", "order-2")
	at := []string{"--server", r.URL}
	list := func(more ...string) result { return call(t, append(append([]string{"tx", "list"}, at...), more...)...) }
	got := list()
	got.want(t, exitDone, "ID", "STATE", "AGE", "WAITS FOR", "order-1", "order-2", "committing", "b, ", "503")
	if strings.Index(got.out, "order-2") > strings.Index(got.out, "order-1") {
		t.Errorf("not newest first:\n%s", got.out)
	}
	list("--limit", "1").want(t, exitDone, "order-2", "--limit 0 shows all")
	if one := list("--limit", "1"); strings.Contains(one.out, "order-1") {
		t.Errorf("more than one:\n%s", one.out)
	}
	list("--participant", "a").want(t, exitDone, "nothing")
	list("--state", "rolling_back").want(t, exitDone, "nothing")
	list("--state", "heuristic").want(t, exitDone, "none that is heuristic is kept since the server started")
	list("--state", "nonsense").want(t, exitFailed, "state must be one of")
	list("--limit", "-1").want(t, exitUsage, "--limit")
	var doc struct {
		Transactions []dtchttp.Transaction
		More         bool
	}
	if err := json.Unmarshal([]byte(list("--limit", "1", "-o", "json").out), &doc); err != nil || len(doc.Transactions) != 1 || !doc.More || doc.Transactions[0].ID != "order-2" {
		t.Errorf("%+v, %v", doc, err)
	}
	for _, id := range []string{"order-1", "order-2"} { // while b is away: nothing ends before it is asked for
		call(t, append([]string{"tx", "retry", id}, at...)...).want(t, exitDone, id, "called now")
	}
	b.away.Store(false)
	until(t, "both are finished", func() bool {
		call(t, append([]string{"tx", "retry", "order-1"}, at...)...) // once it answers both are served
		return strings.Contains(list().out, "nothing")
	})
	list("--state", "committed").want(t, exitDone, "order-1", "order-2")
	call(t, append([]string{"tx", "retry", "order-1"}, at...)...).want(t, exitFailed, "order-1")
}

// TestTxShow: what a person needs to know of one transaction, and what to do.
func TestTxShow(t *testing.T) {
	r, _ := waiting(t, "order-1")
	t.Setenv("DTC_SERVER", r.URL)
	call(t, "tx", "show", "order-1").want(t, exitDone, "order-1", "committing", "outcome", "committed", "PARTICIPANT", "vote_commit",
		"b has not answered", "dtc tx retry order-1", "dtc tx resolve order-1 b")
	call(t, "tx", "show", "order-9").want(t, exitFailed, "order-9", "dtc log explain")
	call(t, "tx", "show").want(t, exitUsage)
	call(t, "tx", "show", "").want(t, exitUsage, "empty")
	var doc dtchttp.Transaction
	if err := json.Unmarshal([]byte(call(t, "tx", "show", "order-1", "-o", "json").out), &doc); err != nil || doc.ID != "order-1" || len(doc.Branches) != 2 {
		t.Errorf("%+v, %v", doc, err)
	}
}

// TestTxResolve: an operator's word counts, is asked for twice, and is heuristic if it
// goes against the decision.
func TestTxResolve(t *testing.T) {
	r, _ := waiting(t, "order-1")
	resolve := func(args ...string) result {
		return call(t, append([]string{"tx", "resolve", "--server", r.URL}, args...)...)
	}
	resolve("order-1", "b", "rolled_back").want(t, exitUsage, "--reason")
	resolve("order-1", "b", "maybe", "--reason", "x").want(t, exitUsage, "committed or rolled_back")
	resolve("order-1", "b").want(t, exitUsage)
	resolve("order-1", "b", "rolled_back", "--reason", "its disk is gone").want(t, exitUsage, "--yes")
	if strings.Contains(r.log.String(), "operator action") {
		t.Error("something was done without a yes")
	}
	resolve("order-1", "nobody", "committed", "--reason", "x", "--yes").want(t, exitFailed, "no branch at nobody")
	resolve("order-1", "b", "rolled_back", "--reason", "its disk is gone", "--yes").want(t, exitDone, "rolled_back", "no more", "did not end alike everywhere", "dtc tx show order-1")
	r.logged("operator action", "its disk is gone", `"outcome":"rolled_back"`)
	call(t, "tx", "show", "order-1", "--server", r.URL).want(t, exitDone, "heuristic", "heuristic_rolled_back", "b ended against the decision")
}

// TestTxWithoutAServer: what to do when nobody answers, or answers that one may not.
func TestTxWithoutAServer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	s.Close()
	for _, args := range [][]string{{"tx", "list"}, {"tx", "show", "x"}, {"tx", "retry", "x"}, {"tx", "resolve", "x", "a", "committed", "--reason", "y", "--yes"}} {
		call(t, append(args, "--server", url)...).want(t, exitFailed, url, "dtc serve", "--server")
		call(t, append(args, "--server", "ftp://x")...).want(t, exitUsage, "http")
		call(t, append(args, "--server", "127.0.0.1:1")...).want(t, exitUsage, "dtc: --server: the URL of the coordinator", "as in http://127.0.0.1:7420")
		call(t, append(args, "--token-file", filepath.Join(t.TempDir(), "none"))...).want(t, exitFailed, "none")
	}
	call(t, "tx").want(t, exitUsage, "list", "resolve")
	tokens := filepath.Join(t.TempDir(), "tokens")
	line := call(t, "config", "token", "eye", "observer", "-o", "json")
	var token struct{ Token, Line string }
	if err := json.Unmarshal([]byte(line.out), &token); err != nil {
		t.Fatal(err)
	}
	put(t, tokens, token.Line+"\n")
	r := serve(t, nil, "--data", dataDir(t), "--tokens-file", tokens)
	call(t, "tx", "list", "--server", r.URL).want(t, exitFailed, "--token-file", "401")
	mine := filepath.Join(t.TempDir(), "mine")
	put(t, mine, token.Token+"\n")
	call(t, "tx", "list", "--server", r.URL, "--token-file", mine).want(t, exitDone, "nothing")
	call(t, "tx", "retry", "x", "--server", r.URL, "--token-file", mine).want(t, exitFailed, "operator", "403")
}

// TestAuditHasNoLevel: what an operator did is written whatever else is not.
func TestAuditHasNoLevel(t *testing.T) {
	r := serve(t, nil, "--data", dataDir(t), "--log-level", "error")
	r.want(404, "POST", "/v1/transactions/order-1/retry", "")
	r.stop()
	if got := r.log.String(); !strings.Contains(got, "operator action") || strings.Contains(got, "listening") {
		t.Errorf("it logged %q", got)
	}
}
