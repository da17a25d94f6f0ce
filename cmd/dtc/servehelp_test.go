package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// patience is how long a test waits for what must come. Nobody waits that long unless
// something is wrong.
const patience = 60 * time.Second

// until waits for something to become true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// safeBuffer can be written and read at once.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// running is a process of dtc serve.
type running struct {
	*greeting
	t      *testing.T
	cmd    *exec.Cmd
	out    safeBuffer
	log    safeBuffer
	ended  chan struct{}
	client *http.Client
	token  string
}

// plainEnviron is the environment without what would configure a server.
func plainEnviron(more ...string) (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "DTC_") {
			env = append(env, e)
		}
	}
	return append(env, more...)
}

// serve starts a server and waits until it is ready. It listens on any free port.
func serve(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	r := launch(t, env, append([]string{"-o", "json", "--listen", "127.0.0.1:0"}, args...)...)
	until(t, "the server is ready", func() bool {
		select {
		case <-r.ended:
			t.Fatalf("the server ended: %s", r.log.String())
		default:
		}
		return json.Unmarshal([]byte(r.out.String()), &r.greeting) == nil
	})
	return r
}

// launch starts a server.
func launch(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, ended: make(chan struct{}), client: http.DefaultClient}
	r.cmd = exec.Command(path, append([]string{"serve"}, args...)...)
	r.cmd.Env = plainEnviron(env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(r.ended); _ = r.cmd.Wait() }()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if t.Failed() {
			t.Logf("output:\n%s\nlog:\n%s", r.out.String(), r.log.String())
		}
	})
	return r
}

func (r *running) signal(sig os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// code waits for the end and returns the exit code.
func (r *running) code() int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatal("the server does not end")
	}
	return r.cmd.ProcessState.ExitCode()
}

// stop drains the server.
func (r *running) stop() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	if code := r.code(); code != 0 {
		r.t.Errorf("exit code %d after SIGTERM", code)
	}
}

// logged waits for a line of the log with these words in it, and returns it.
func (r *running) logged(words ...string) (line string) {
	r.t.Helper()
	until(r.t, "the log says "+strings.Join(words, ", "), func() bool {
		for line = range strings.Lines(r.log.String()) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
	return line
}

// do calls the server. The answer may be plain text.
func (r *running) do(method, path, body string) (status int, text string, err error) {
	var send io.Reader
	if body != "" {
		send = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, r.URL+path, send)
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// want calls the server and wants this status, and returns the answer.
func (r *running) want(status int, method, path, body string) string {
	r.t.Helper()
	got, text, err := r.do(method, path, body)
	if err != nil || got != status {
		r.t.Fatalf("%s %s: %d, %v, want %d: %s", method, path, got, err, status, text)
	}
	return text
}

// transaction reads a transaction's document.
func (r *running) transaction(text string) (tx dtchttp.Transaction) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(text), &tx); err != nil {
		r.t.Fatalf("%v: %s", err, text)
	}
	return tx
}

func (r *running) outcome(id string) string {
	status, text, err := r.do("GET", "/v1/transactions/"+id, "")
	if err != nil || status != 200 {
		return ""
	}
	if tx := r.transaction(text); tx.Outcome != nil {
		return *tx.Outcome
	}
	return ""
}

// branchesOf is the body of a transaction.
func branchesOf(id string, participants ...string) string {
	var all []string
	for _, p := range participants {
		all = append(all, `{"participant":"`+p+`"}`)
	}
	return `{"id":"` + id + `","branches":[` + strings.Join(all, ",") + `]}`
}

// service is a participant over HTTP.
type service struct {
	*httptest.Server
	away  atomic.Bool // nothing is answered but 503
	deaf  atomic.Bool // commits and rollbacks are answered with 503
	enter chan string // if not nil, told of each prepare,
	leave chan bool   // which then waits for this
	gate  chan bool   // if not nil, commits wait until it is closed

	mu        sync.Mutex
	state     map[dtc.XID]string
	committed []string // ids
	rolled    []string
	seen      []*http.Request
}

// newService starts a participant; plain or listing.
func newService(t *testing.T, id string, listing bool) *service {
	s := newServiceOff(t, id, listing)
	s.Start()
	return s
}

func newServiceOff(t *testing.T, id string, listing bool) *service {
	s := &service{state: map[dtc.XID]string{}}
	p := dtc.ParticipantFuncs{
		ParticipantID: id,
		PrepareFunc: func(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
			if s.enter != nil {
				s.enter <- string(b.TxID)
				select {
				case <-s.leave:
				case <-ctx.Done():
					return dtc.VoteAbort, ctx.Err()
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.state[b.XID] == "rolled back" {
				return dtc.VoteAbort, nil
			}
			s.state[b.XID] = "prepared"
			return dtc.VoteCommit, nil
		},
		CommitFunc: func(ctx context.Context, b dtc.Branch) error {
			if s.gate != nil {
				select {
				case <-s.gate:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.state[b.XID] == "prepared" {
				s.committed = append(s.committed, string(b.TxID))
			}
			s.state[b.XID] = "committed"
			return nil
		},
		RollbackFunc: func(_ context.Context, b dtc.Branch) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.state[b.XID] == "committed" {
				return errors.New("it was committed")
			}
			s.state[b.XID] = "rolled back"
			s.rolled = append(s.rolled, string(b.TxID))
			return nil
		},
	}
	if listing {
		p.InDoubtFunc = func(_ context.Context, log dtc.LogID) (all []dtc.InDoubtBranch, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for xid, state := range s.state {
				if state == "prepared" && xid.Log == log {
					all = append(all, dtc.InDoubtBranch{XID: xid})
				}
			}
			return all, nil
		}
	}
	h := dtchttp.NewParticipantHandler(p, nil)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		decision := strings.HasSuffix(r.URL.Path, "/commit") || strings.HasSuffix(r.URL.Path, "/rollback")
		if s.away.Load() || decision && s.deaf.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// did returns the ids of transactions that were committed, or rolled back.
func (s *service) did(what string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if what == "committed" {
		return strings.Join(s.committed, " ")
	}
	return strings.Join(s.rolled, " ")
}

func (s *service) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.seen...)
}

// put writes a file as those do who know how: nobody sees half of it.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// eachLine calls f with each line of a log in JSON.
func eachLine(t *testing.T, log string, f func(line map[string]any)) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		f(line)
	}
}

// over returns a client with this configuration of TLS, and new connections.
func over(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

func dataDir(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }
