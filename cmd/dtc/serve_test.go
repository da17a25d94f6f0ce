package main

import (
	"encoding/json"
	"net"
	"os"
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
}

// TestServeDrains: what runs when the signal comes may end, nothing new is taken, and
// whoever asks is told.
func TestServeDrains(t *testing.T) {
	a, b := newService(t, "a", false), newService(t, "b", true)
	a.enter, a.leave = make(chan string, 1), make(chan bool)
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL, "--participant", "b="+b.URL, "--prepare-timeout", "1m", "--prepare-attempt", "1m")
	r.want(201, "POST", "/v1/transactions/begin", `{"id":"steps"}`)
	r.want(201, "POST", "/v1/transactions/steps/branches", `{"participant":"b"}`)
	answer := make(chan string, 1)
	go func() {
		_, text, err := r.do("POST", "/v1/transactions", branchesOf("t", "a", "b"))
		if err != nil {
			text = err.Error()
		}
		answer <- text
	}()
	if id := <-a.enter; id != "t" {
		t.Fatal(id)
	}
	r.signal(syscall.SIGTERM)
	r.logged("draining")
	if text := r.want(503, "GET", "/readyz", ""); !strings.Contains(text, "draining") {
		t.Error(text)
	}
	r.want(200, "GET", "/livez", "")
	if text := r.want(503, "POST", "/v1/transactions", branchesOf("u", "b")); !strings.Contains(text, `"code":"draining"`) {
		t.Error(text)
	}
	if text := r.want(200, "POST", "/v1/transactions/steps/commit", ""); *r.transaction(text).Outcome != "committed" {
		t.Error(text)
	}
	a.leave <- true
	if tx := r.transaction(<-answer); tx.Outcome == nil || *tx.Outcome != "committed" {
		t.Errorf("%+v", tx)
	}
	if code := r.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := b.did("committed"); got != "steps t" {
		t.Error(got)
	}
}

// TestServeDrainTimeout: it does not wait for ever, neither for a step that does not
// come nor for a participant.
func TestServeDrainTimeout(t *testing.T) {
	a := newService(t, "a", false)
	a.enter, a.leave = make(chan string, 1), make(chan bool)
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir, "--participant", "a="+a.URL, "--drain-timeout", "1ms", "--prepare-timeout", "1h", "--prepare-attempt", "1h")
	r.want(201, "POST", "/v1/transactions/begin", `{"id":"steps"}`)
	gone := make(chan bool)
	go func() { defer close(gone); _, _, _ = r.do("POST", "/v1/transactions", branchesOf("t", "a")) }()
	<-a.enter
	r.stop()
	<-gone
	r.logged("the drain timeout is over")
	a.enter = nil
	r = serve(t, nil, "--data", dir, "--participant", "a="+a.URL)
	until(t, "the next start rolls back what had no decision", func() bool { return a.did("rolled back") == "t" })
	r.stop()
}

// TestServeSecondSignal ends it at once, and nothing is lost.
func TestServeSecondSignal(t *testing.T) {
	a := newService(t, "a", false)
	a.enter, a.leave = make(chan string, 1), make(chan bool)
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir, "--participant", "a="+a.URL, "--prepare-timeout", "1h", "--prepare-attempt", "1h", "--drain-timeout", "1h")
	gone := make(chan bool)
	go func() { defer close(gone); _, _, _ = r.do("POST", "/v1/transactions", branchesOf("t", "a")) }()
	<-a.enter
	r.signal(syscall.SIGINT)
	r.logged("draining")
	r.signal(syscall.SIGTERM)
	if code := r.code(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	<-gone
	r.logged("a second signal")
	a.enter = nil
	r = serve(t, nil, "--data", dir, "--participant", "a="+a.URL)
	until(t, "the next start rolls back what had no decision", func() bool { return a.did("rolled back") == "t" })
	r.stop()
}

// TestServeFinishesWhatWasLeft: a decision that a participant has not heard when the
// process is killed is told by the next start.
func TestServeFinishesWhatWasLeft(t *testing.T) {
	a, b := newService(t, "a", true), newService(t, "b", false)
	dir := dataDir(t)
	args := []string{"--data", dir, "--participant", "a=" + a.URL, "--participant", "b=" + b.URL, "--completion-wait", "0s"}
	r := serve(t, nil, args...)
	b.enter, b.leave = make(chan string, 1), make(chan bool)
	go func() { <-b.enter; b.away.Store(true); b.leave <- true }() // it votes, and is gone
	tx := r.transaction(r.want(200, "POST", "/v1/transactions", branchesOf("t", "a", "b")))
	if tx.Outcome == nil || *tx.Outcome != "committed" {
		t.Fatalf("%+v", tx)
	}
	r.signal(syscall.SIGKILL)
	<-r.ended
	if b.did("committed") != "" {
		t.Fatal("it has heard")
	}
	r = serve(t, nil, args...) // b being down does not hold it up
	if r.Unfinished != 1 || r.outcome("t") != "committed" {
		t.Errorf("%d unfinished, %q", r.Unfinished, r.outcome("t"))
	}
	r.logged("does not answer yet", `"participant":"b"`)
	b.away.Store(false)
	until(t, "b hears of it", func() bool { return b.did("committed") == "t" })
	r.stop()
}

// TestServeRefuses: each mistake has its exit code and says what to do, and leaves no
// trace.
func TestServeRefuses(t *testing.T) {
	dir := dataDir(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: x\n\nlistne: y\nparticipants:\n  a: {url: 'http://u:secret@h:x'}\n")
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{nil, exitUsage, []string{"--data", "DTC_DATA"}},
		{[]string{"--data", dir, "extra"}, exitUsage, nil},
		{[]string{"--data", dir, "--listen", "0.0.0.0:0"}, exitUsage, []string{"--listen: ", "other machines", "--insecure", "TLS", "authentication"}},
		{[]string{"--data", dir, "--listen", ":0"}, exitUsage, []string{"--insecure"}},
		{[]string{"--data", dir, "--listen", "[::]:0"}, exitUsage, []string{"--insecure"}},
		{[]string{"--data", dir, "--listen", "here"}, exitUsage, []string{"HOST:PORT"}},
		{[]string{"--data", dir, "--prepare-timeout", "5"}, exitUsage, []string{"5s"}},
		{[]string{"--data", dir, "--participant", "http://u:secret@h"}, exitUsage, []string{"NAME=URL"}},
		{[]string{"--data", dir, "--participant", "a=http://u:secret@h:x"}, exitUsage, []string{"participant a", "cannot be read"}},
		{[]string{"--data", dir, "--participant", "a b=http://h"}, exitUsage, nil},
		{[]string{"--data", dir, "--config", file}, exitUsage, []string{file + `:3: unknown key "listne", did you mean "listen"?`, file + ":5: the URL of participant a"}},
		{[]string{"--data", dir, "--config", file + ".not"}, exitUsage, []string{"no such file"}},
		{[]string{"--data", dir, "--tokens-file", file}, exitUsage, []string{"--tokens-file: "}},
		{[]string{"--data", dir, "--listen", taken.Addr().String()}, exitFailed, []string{taken.Addr().String() + " is in use", "--listen"}},
	} {
		r := launch(t, nil, c.args...)
		if code := r.code(); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("%q: it does not say %q: %s", c.args, want, r.log.String())
			}
		}
		if r.out.String() != "" || strings.Contains(r.log.String(), "secret") {
			t.Errorf("%q: %s%s", c.args, r.out.String(), r.log.String())
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

// TestServeExitCodes of a log that cannot be used.
func TestServeExitCodes(t *testing.T) {
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir)
	second := launch(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	if code := second.code(); code != exitInUse || second.out.String() != "" {
		t.Errorf("in use: exit code %d: %s", code, second.log.String())
	}
	r.want(200, "GET", "/readyz", "") // the first one does not mind
	r.stop()
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[100] ^= 1
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	third := launch(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	if code := third.code(); code != exitCorrupt {
		t.Errorf("corrupt: exit code %d: %s", code, third.log.String())
	}
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

// TestServeConnectionLimit: beyond it nobody is answered until somebody leaves.
func TestServeConnectionLimit(t *testing.T) {
	r := serve(t, nil, "--data", dataDir(t), "--max-connections", "2")
	address := strings.TrimPrefix(r.URL, "http://")
	ask := func(c net.Conn) {
		if _, err := c.Write([]byte("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	var conns []net.Conn
	answered := make(chan int, 3)
	for i := range 3 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		ask(c)
		go func() {
			if _, err := c.Read(make([]byte, 1000)); err == nil {
				answered <- i
			}
		}()
		if i < 2 {
			<-answered
		}
	}
	r.logged("max_connections")
	select {
	case <-answered:
		t.Fatal("the third one is answered")
	default:
	}
	conns[0].Close()
	if i := <-answered; i != 2 {
		t.Error(i)
	}
	conns[1].Close()
	conns[2].Close()
	r.stop()
}

// TestServeForBrowsers: pages of others, and names that lead here, get nothing.
func TestServeForBrowsers(t *testing.T) {
	r := serve(t, nil, "--data", dataDir(t))
	for _, head := range []string{"Host: evil.example\r\n", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", "Host: localhost\r\nOrigin: https://evil.example\r\n"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("POST /v1/transactions/begin HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" + head + "\r\n{}")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		n, err := c.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 403 ") {
			t.Errorf("%q: %q, %v", head, buf[:n], err)
		}
	}
	var list struct{ Transactions []json.RawMessage }
	if err := json.Unmarshal([]byte(r.want(200, "GET", "/v1/transactions", "")), &list); err != nil || len(list.Transactions) != 0 {
		t.Errorf("%v, %s", err, list.Transactions)
	}
	r.stop()
}

// TestServeDrainFinishes: participants that answer hear of decisions before the end,
// though the callers did not wait for that; one that is down is not waited for.
func TestServeDrainFinishes(t *testing.T) {
	a, b := newService(t, "a", true), newService(t, "b", true)
	a.gate = make(chan bool)
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL, "--participant", "b="+b.URL, "--completion-wait", "0s", "--concurrency", "2")
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		r.want(200, "POST", "/v1/transactions", branchesOf(id, "a"))
	}
	b.enter, b.leave = make(chan string, 1), make(chan bool)
	go func() { <-b.enter; b.away.Store(true); b.leave <- true }()
	r.want(200, "POST", "/v1/transactions", branchesOf("9", "a", "b"))
	r.signal(syscall.SIGTERM)
	r.logged("draining")
	close(a.gate)
	if code := r.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := len(strings.Fields(a.did("committed"))); n != 9 {
		t.Errorf("a has heard of %d decisions", n)
	}
	r.logged("stopped", `"unfinished":1`)
}
