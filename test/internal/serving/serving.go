// Package serving runs `dtc serve` over real databases and tells it, over HTTP, to move
// money between them. The stories are the same for each kind of database.
package serving

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtc-project/dtc/test/internal/procs"
	"github.com/dtc-project/dtc/test/internal/servers"
)

// Process is `dtc serve`, which may be killed and started again on the same log.
type Process struct {
	*procs.Process
	t      *testing.T
	args   []string
	config string // the path of the file, which names the participants
}

// Binary builds dtc, once for all tests, and returns its path.
func Binary(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		var dir string
		if dir, errBuilt = os.MkdirTemp("", "dtc-bin-"); errBuilt == nil {
			servers.AtExit(func() { os.RemoveAll(dir) })
			pathBuilt, errBuilt = procs.Build(dir, "-race")
		}
	})
	if errBuilt != nil {
		t.Fatal(errBuilt)
	}
	return pathBuilt
}

var (
	built     sync.Once
	pathBuilt string
	errBuilt  error
)

// Start starts `dtc serve` with participants, each as NAME=URL, which stand in a file.
func Start(t *testing.T, participants ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{t: t, config: filepath.Join(dir, "dtc.yaml")}
	p.args = []string{
		"serve", "--data", filepath.Join(dir, "log"), "--listen", "127.0.0.1:0", "-o", "json", "--log-format", "json",
		"--prepare-timeout", "3s", "--prepare-attempt", "3s", "--sweep-interval", "1s", "--finish-backoff-cap", "200ms",
		"--config", p.config,
	}
	p.Configure(participants...)
	p.Again()
	return p
}

// Configure writes the file.
func (p *Process) Configure(participants ...string) {
	p.t.Helper()
	if err := os.WriteFile(p.config, []byte(File(participants...)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// File is a configuration file with participants, each as NAME=URL.
func File(participants ...string) string {
	text := "participants:\n"
	for _, participant := range participants {
		name, url, _ := strings.Cut(participant, "=")
		text += fmt.Sprintf("  %s: {url: %q}\n", name, url)
	}
	return text
}

// Again starts it, after it was killed.
func (p *Process) Again() {
	p.t.Helper()
	p.Process = procs.Start(p.t, "dtc", exec.Command(Binary(p.t), p.args...))
	if p.URL == "" {
		p.t.Fatalf("dtc serve ended: %s", p.Stderr())
	}
}

// Hangup has it read the file, and returns what it has written since when that contains
// one of the words.
func (p *Process) Hangup(words ...string) (said string) {
	p.t.Helper()
	before := len(p.Stderr())
	p.Signal(syscall.SIGHUP)
	Eventually(p.t, "it says one of "+strings.Join(words, ", "), func() bool {
		said = p.Stderr()[before:]
		for _, w := range words {
			if strings.Contains(said, w) {
				return true
			}
		}
		return false
	})
	return said
}

// Call makes a request.
func (p *Process) Call(method, path, body string) (status int, answer string) {
	p.t.Helper()
	status, answer, err := p.Try(method, path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, answer
}

// Try is Call for a process that may be killed meanwhile.
func (p *Process) Try(method, path, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// Want posts a transaction, and wants it to end like that.
func (p *Process) Want(outcome, body string) (answer string) {
	p.t.Helper()
	status, answer := p.Call("POST", "/v1/transactions", body)
	var r struct{ Outcome string }
	if err := json.Unmarshal([]byte(answer), &r); err != nil || status != http.StatusOK || r.Outcome != outcome {
		p.t.Fatalf("%d %s; want %s", status, answer, outcome)
	}
	return answer
}

// Eventually waits until something is so.
func Eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 3000 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}
