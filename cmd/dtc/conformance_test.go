package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/dtctest"
	"github.com/dtc-project/dtc/internal/conformance"
)

// memoryParticipant serves a participant that keeps its promises, behind whatever
// spoil makes of its answers.
func memoryParticipant(t *testing.T, opts *dtchttp.HandlerOptions, spoil func(http.Handler) http.Handler) (url string) {
	t.Helper()
	m := dtctest.NewMemory("stock")
	m.OnPrepare = func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
		switch string(b.Payload) {
		case `"abort"`:
			return dtc.VoteAbort, nil
		case `"read-only"`:
			return dtc.VoteReadOnly, nil
		}
		return dtc.VoteCommit, nil
	}
	h := dtchttp.NewParticipantHandler(m, opts)
	if spoil != nil {
		h = spoil(h)
	}
	s := httptest.NewServer(http.StripPrefix("/dtc", h))
	t.Cleanup(s.Close)
	return s.URL + "/dtc"
}

func conform(t *testing.T, args ...string) (code int, out, complaints string) {
	t.Helper()
	var o, c bytes.Buffer
	code = run(t.Context(), append([]string{"conformance"}, args...), strings.NewReader(""), &o, &c)
	return code, o.String(), c.String()
}

// TestConformanceOfOurHandler: a participant in Go behind our own handler is one,
// with each thing that can be tried tried.
func TestConformanceOfOurHandler(t *testing.T) {
	url := memoryParticipant(t, &dtchttp.HandlerOptions{Tokens: func() []string { return []string{"secret"} }}, nil)
	token, restarted := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "restarted")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, complaints := conform(t, url, "--participant", "stock", "--token-file", token, "--payload", `{"n":1}`,
		"--abort-payload", `"abort"`, "--read-only-payload", `"read-only"`, "--observe", "echo 1",
		"--restart", "echo again >>"+restarted)
	if code != exitDone || complaints != "" || strings.Contains(out, "FAIL") || strings.Contains(out, "not tried ") {
		t.Errorf("exit %d\n%s%s", code, out, complaints)
	}
	for _, n := range conformance.Names() {
		if !strings.Contains(out, "ok         "+n[0]+" ") {
			t.Errorf("nothing is said of %s", n[0])
		}
	}
	if text, err := os.ReadFile(restarted); err != nil || strings.Count(string(text), "again") != 3 {
		t.Errorf("the restart command ran for %q, %v", text, err)
	}
}

// TestConformanceSaysWhy: who commits what it does not know is told what that costs.
func TestConformanceSaysWhy(t *testing.T) {
	url := memoryParticipant(t, nil, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			if answer.Code == http.StatusNotFound {
				answer.Code = http.StatusOK
			}
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		})
	})
	args := []string{url, "--participant", "stock", "--case", "commit-unknown", "--case", "vote"}
	code, out, complaints := conform(t, args...)
	for _, want := range []string{
		"ok         vote ", "FAIL       commit-unknown ", "\nFAIL commit-unknown: ",
		"  sent   POST /dtc/commit {\"tx_id\":", "  got    200 OK", "  want   404 or 410", "  why    The acknowledgement",
		"1 ok, 1 failed, 0 not tried", "give --observe COMMAND",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if code != exitFailed || !strings.Contains(complaints, "no participant to rely on: 1 of 2") {
		t.Errorf("exit %d: %s", code, complaints)
	}
	code, out, _ = conform(t, append(args, "-o", "json")...)
	var report conformance.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitFailed || report.Failed != 1 || report.OK != 1 ||
		report.Participant != "stock" || len(report.Cases) != 2 || len(report.Cases[1].Findings) != 1 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

// TestConformanceOfAnother: whoever forgets --participant is told of it.
func TestConformanceOfAnother(t *testing.T) {
	code, out, _ := conform(t, memoryParticipant(t, nil, nil), "--case", "reachable")
	if code != exitFailed || !strings.Contains(out, "--participant says which") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestConformanceUsage(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "arg"},
		{[]string{"localhost:8001"}, exitUsage, "http://host:port"},
		{[]string{"http://x", "--payload", "book"}, exitUsage, "needs its quotes"},
		{[]string{"http://x", "--case", "nothing"}, exitUsage, `no case "nothing"`},
		{[]string{"http://x", "--timeout", "0s"}, exitUsage, "--timeout"},
		{[]string{"http://x", "--cert-file", empty}, exitUsage, "go together"},
		{[]string{"http://x", "--ca-file", empty}, exitFailed, "no certificate"},
		{[]string{"http://x", "--token-file", empty}, exitFailed, "must hold a token"},
		{[]string{"http://x", "--token-file", filepath.Join(dir, "none")}, exitFailed, "no such file"},
	} {
		if code, _, complaints := conform(t, c.args...); code != c.code || !strings.Contains(complaints, c.want) {
			t.Errorf("%q: exit %d: %s", c.args, code, complaints)
		}
	}
}

// TestShellCommands: what a restart leaves running does not hold it up, and what
// goes wrong is told with what the command said.
func TestShellCommands(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	if err := shellStart(t.Context(), "sleep 1000 & echo $! >"+pid); err != nil {
		t.Error(err)
	}
	if err := shellStart(t.Context(), "kill $(cat "+pid+")"); err != nil {
		t.Errorf("what it started does not run: %v", err)
	}
	if err := shellStart(t.Context(), "echo no such service >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "no such service") {
		t.Errorf("a failed restart says %v", err)
	}
	if text, err := shellOutput(t.Context(), "echo 17"); text != "17" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := shellOutput(t.Context(), "echo broken >&2; exit 1"); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a failed look says %v", err)
	}
}
