package main

import (
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestServe: the first five minutes, with plain HTTP calls.
func TestServe(t *testing.T) {
	a, b := newService(t, "inventory", true), newService(t, "payment", false)
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir, "--participant", "inventory="+a.URL, "--participant", "payment="+b.URL)
	g := *r.greeting
	if g.Data != dir || g.Log == "" || !strings.HasPrefix(g.URL, "http://127.0.0.1:") || strings.HasSuffix(g.URL, ":0") || g.TLS || len(g.Auth) != 0 || !g.Loopback || g.PID != r.cmd.Process.Pid {
		t.Errorf("%+v", g)
	}
	if want := []greetParticipant{{"inventory", a.URL, "listing"}, {"payment", b.URL, "plain"}}; !slices.Equal(g.Participants, want) {
		t.Errorf("%+v", g.Participants)
	}
	tx := r.transaction(r.want(200, "POST", "/v1/transactions", branchesOf("t", "inventory", "payment")))
	if tx.Outcome == nil || *tx.Outcome != "committed" || a.did("committed") != "t" || b.did("committed") != "t" {
		t.Errorf("%+v", tx)
	}
	r.want(200, "GET", "/livez", "")
	r.want(200, "GET", "/readyz", "")
	if text := r.want(200, "GET", "/metrics", ""); !strings.Contains(text, `dtc_transactions_total{outcome="committed",reason=""} 1`) || !strings.Contains(text, "dtc_log_sync_duration_seconds_count") {
		t.Error(text)
	}
	if text := r.want(200, "GET", "/v1/participants", ""); !strings.Contains(text, `"url":"`+a.URL+`"`) || !strings.Contains(text, `"kind":"http"`) {
		t.Error(text)
	}
	if r.outcome("..") != "" { // an id like any other
		t.Error("..")
	}
	r.stop()
	eachLine(t, r.log.String(), func(line map[string]any) {
		if line["level"] == "ERROR" || line["level"] == "WARN" {
			t.Errorf("%v", line)
		}
	})

	// Another start: the outcome is remembered.
	r = serve(t, nil, "--data", dir, "--participant", "inventory="+a.URL, "--participant", "payment="+b.URL, "--metrics=false", "--log-level", "error")
	if r.Log != g.Log || r.outcome("t") != "committed" {
		t.Errorf("log %s, %q", r.Log, r.outcome("t"))
	}
	r.want(404, "GET", "/metrics", "")
	r.stop()
	if r.log.String() != "" {
		t.Error("log level error, and it says", r.log.String())
	}
}

// TestServeBanner is what people see.
func TestServeBanner(t *testing.T) {
	a := newService(t, "inventory", true)
	dir := dataDir(t)
	r := launch(t, nil, "--data", dir, "--listen", "localhost:0", "--participant", "inventory="+a.URL, "--log-format", "text")
	until(t, "the banner is there", func() bool { return strings.Contains(r.out.String(), "curl") })
	for _, want := range []string{"dtc serves http://", ", log ", " in " + dir + "\n", "version ", "fdatasync", "loopback only", "no authentication", "/metrics\n", "inventory  " + a.URL + "  listing\n", `-d '{"branches":[{"participant":"inventory"}]}'`} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	r.logged("level=INFO", "msg=serving")
	r.stop()
	r = launch(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	until(t, "the banner is there", func() bool { return strings.Contains(r.out.String(), "curl") })
	if !strings.Contains(r.out.String(), "none yet: give --participant NAME=URL") {
		t.Error("it does not say how to have participants")
	}
	r.stop()
	if strings.Contains(r.out.String(), "hold") {
		t.Errorf("nothing is held, and the banner has\n%s", r.out.String())
	}
	call(t, "log", "hold", "--data", dir, "--reason", "the volume was restored").want(t, exitDone)
	r = launch(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	until(t, "the banner is there", func() bool { return strings.Contains(r.out.String(), "curl") })
	if text := r.out.String(); !strings.Contains(text, "the volume was restored") || !strings.Contains(text, "dtc log release") {
		t.Errorf("it does not tell of the hold:\n%s", text)
	}
	r.logged("level\":\"ERROR", "the volume was restored")
	r.stop()
}

// TestServeSettings: flags over environment over file, for what can be seen from
// outside.
func TestServeSettings(t *testing.T) {
	a := newService(t, "a", false)
	base := t.TempDir()
	file := filepath.Join(base, "dtc.yaml")
	put(t, file, "data: from-file\nmetrics: false\nlog_format: text\nparticipants:\n  a: {url: 'http://127.0.0.1:1'}\n  b: {url: 'http://127.0.0.1:1'}\n")
	r := serve(t, []string{"DTC_CONFIG=" + file, "DTC_METRICS=true", "DTC_PARTICIPANT=a=" + a.URL + " c=http://127.0.0.1:2/x"}, "--participant", "d=http://127.0.0.1:3")
	if r.Data != filepath.Join(base, "from-file") || r.Config != file || r.Metrics == "" {
		t.Errorf("%+v", r.greeting)
	}
	var urls []string
	for _, p := range r.Participants {
		urls = append(urls, p.ID+"="+p.URL)
	}
	if got := strings.Join(urls, " "); got != "a="+a.URL+" b=http://127.0.0.1:1 c=http://127.0.0.1:2/x d=http://127.0.0.1:3" {
		t.Error(got)
	}
	r.logged("level=INFO msg=serving")
	r.stop()
}

// TestServeShowsNoCredentials: of the URL of a participant they go to the participant,
// and nowhere else.
func TestServeShowsNoCredentials(t *testing.T) {
	t.Parallel()
	a := newService(t, "a", false)
	with := strings.Replace(a.URL, "http://", "http://us3r:hunter2@", 1)
	down := "http://us3r:hunter2@127.0.0.1:1/base"
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "participants:\n  down: {url: '"+down+"'}\n")
	r := serve(t, []string{"DTC_PARTICIPANT=a=" + with}, "--data", dataDir(t), "--config", file, "--log-level", "debug", "--prepare-timeout", "100ms")
	var text strings.Builder
	text.WriteString(r.want(200, "POST", "/v1/transactions", branchesOf("t", "a")))
	text.WriteString(r.want(200, "POST", "/v1/transactions", branchesOf("u", "a", "down")))
	for _, path := range []string{"/v1/participants", "/v1/transactions", "/v1/transactions/t", "/v1/transactions/u", "/metrics", "/readyz?verbose"} {
		text.WriteString(r.want(200, "GET", path, ""))
	}
	put(t, file, "participants:\n  down: {url: '"+down+"2'}\n  worse: {url: 'http://us3r:hunter2@h:x'}\n")
	r.logged("refused", "cannot be read")
	put(t, file, "participants:\n  down: {url: '"+down+"3'}\n")
	r.logged("a participant was registered", "down")
	r.stop()
	text.WriteString(r.log.String() + r.out.String())
	if s := text.String(); strings.Contains(s, "hunter2") || strings.Contains(s, "us3r") || strings.Contains(s, "dXMzcjpodW50ZXIy") {
		t.Errorf("the credentials are shown:\n%s", s)
	}
	for _, req := range a.requests() {
		if user, password, ok := req.BasicAuth(); !ok || user != "us3r" || password != "hunter2" {
			t.Errorf("%s: they are not sent", req.URL)
		}
	}
}

// TestServeIsThereBeforeItIsReady: while participants are asked and the log is read it
// says so, and a signal in that time ends it properly.
func TestServeIsThereBeforeItIsReady(t *testing.T) {
	for range 5 {
		if seenEarly(t) {
			return
		}
	}
	t.Error("the server was ready each time before it could be asked")
}

// seenEarly starts a server that waits for a participant, and asks it meanwhile. It
// reports whether it was early enough to see anything.
func seenEarly(t *testing.T) bool {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := launch(t, nil, "--data", dataDir(t), "--listen", "127.0.0.1:0", "--participant", "a=http://"+silent.Addr().String())
	var line struct{ Address string }
	if err := json.Unmarshal([]byte(r.logged("listening")), &line); err != nil {
		t.Fatal(err)
	}
	r.greeting = &greeting{URL: "http://" + line.Address}
	status, text, err := r.do("GET", "/readyz", "")
	posted, problem, err2 := r.do("POST", "/v1/transactions", branchesOf("t", "a"))
	r.want(200, "GET", "/livez", "")
	r.signal(syscall.SIGTERM)
	early := !strings.Contains(r.log.String(), `"msg":"serving"`)
	if code := r.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !early {
		return false
	}
	if err != nil || status != 503 || !strings.Contains(text, "replaying") {
		t.Errorf("%d %s, %v", status, text, err)
	}
	if err2 != nil || posted != 503 || !strings.Contains(problem, `"code":"not_ready"`) {
		t.Errorf("%d %s, %v", posted, problem, err2)
	}
	return true
}
