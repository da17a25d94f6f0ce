package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// participantsFile is a configuration of these participants, given as pairs of an id
// and a URL.
func participantsFile(pairs ...string) string {
	text := "participants:\n"
	for i := 0; i+1 < len(pairs); i += 2 {
		text += fmt.Sprintf("  %s: {url: '%s'}\n", pairs[i], pairs[i+1])
	}
	return text
}

// lines counts the lines of the log with these words.
func (r *running) lines(words ...string) (n int) {
	for line := range strings.Lines(r.log.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

// TestServeReload: participants come, move and go with the file, at a change of it and
// at SIGHUP, and branches of one that went wait until it is back.
func TestServeReload(t *testing.T) {
	t.Parallel()
	a, b, moved := newService(t, "a", true), newService(t, "b", false), newService(t, "b", false)
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, participantsFile("a", a.URL))
	r := serve(t, nil, "--data", dataDir(t), "--config", file, "--completion-wait", "0s")
	r.want(400, "POST", "/v1/transactions", branchesOf("t1", "a", "b"))

	// One comes: the file changes.
	put(t, file, participantsFile("a", a.URL, "b", b.URL))
	r.logged("a participant was registered", `"participant":"b"`, `"new":true`)
	if got := r.transaction(r.want(200, "POST", "/v1/transactions", branchesOf("t2", "a", "b"))); *got.Outcome != "committed" {
		t.Errorf("%+v", got)
	}
	if r.lines("a participant was registered", `"participant":"a"`) != 0 {
		t.Error("a was registered again, though it did not change")
	}

	// It goes while a branch waits for it; SIGHUP does not wait for anything.
	b.enter, b.leave = make(chan string, 1), make(chan bool)
	go func() { <-b.enter; b.away.Store(true); b.leave <- true }()
	if got := r.transaction(r.want(200, "POST", "/v1/transactions", branchesOf("t3", "a", "b"))); *got.Outcome != "committed" {
		t.Errorf("%+v", got)
	}
	put(t, file, participantsFile("a", a.URL))
	r.signal(syscall.SIGHUP)
	r.logged("a participant was taken out", `"participant":"b"`)
	r.want(400, "POST", "/v1/transactions", branchesOf("t4", "a", "b"))
	if text := r.want(200, "GET", "/v1/participants", ""); !strings.Contains(text, `"id":"b","kind":"","url":""`) || !strings.Contains(text, `"in_doubt":1`) {
		t.Error(text)
	}
	before := len(b.requests())

	// It comes back, elsewhere: the branch is finished there.
	put(t, file, participantsFile("a", a.URL, "b", moved.URL))
	until(t, "the branch is finished at the new address", func() bool {
		_, text, _ := r.do("GET", "/v1/transactions/t3", "")
		return r.transaction(text).Ended != nil
	})
	if n := len(b.requests()); n != before {
		t.Errorf("the old address was called %d times more", n-before)
	}
	r.want(200, "POST", "/v1/transactions", branchesOf("t5", "a", "b"))
	until(t, "a new one is committed there", func() bool { return moved.did("committed") == "t5" })

	r.stop()
}

// TestServeReloadRefuses a file with a mistake as a whole, says so once with the line,
// and goes on with the old one.
func TestServeReloadRefuses(t *testing.T) {
	t.Parallel()
	a := newService(t, "a", false)
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	good := participantsFile("a", a.URL)
	put(t, file, good)
	r := serve(t, nil, "--data", dataDir(t), "--config", file)
	bad := participantsFile("b", "http://127.0.0.1:1") + "  c:\n    uri: x\n"
	put(t, file, bad)
	r.logged(`"level":"ERROR"`, "refused", file+":4", `unknown key \"uri\"`)
	r.logged(`"level":"ERROR"`, "refused", file+":3", "participant c has no url")
	r.want(400, "POST", "/v1/transactions", branchesOf("t", "b"))
	r.want(200, "POST", "/v1/transactions", branchesOf("t", "a"))

	// A file that is gone, and back as it was used, changes nothing.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.logged(`"level":"ERROR"`, "cannot be read")
	r.want(200, "POST", "/v1/transactions", branchesOf("u", "a"))

	// What cannot change while it runs is told; the rest is taken.
	put(t, file, "max_connections: 7\nlog_level: debug\nprepare_timeout: 3s\n"+participantsFile("a", a.URL, "b", a.URL))
	r.logged(`"level":"WARN"`, "restart", `"settings":["max_connections","log_level"]`)
	r.logged("a participant was registered", `"participant":"b"`)
	r.logged("a participant was registered", `"participant":"a"`, `"new":false`) // its timing
	if n := r.lines("refused", file+":4"); n != 1 {
		t.Errorf("the mistake was told %d times", n)
	}
	if n := r.lines("cannot be read"); n != 1 {
		t.Errorf("the missing file was told %d times", n)
	}

	// SIGHUP tells of a mistake again: somebody asked.
	put(t, file, bad)
	until(t, "it is refused", func() bool { return r.lines("refused", file+":4") == 2 })
	r.signal(syscall.SIGHUP)
	until(t, "it is refused again", func() bool { return r.lines("refused", file+":4") == 3 })
	r.stop()
}

// TestServeReloadWithoutFile: SIGHUP does no harm, and flags stay.
func TestServeReloadWithoutFile(t *testing.T) {
	t.Parallel()
	a := newService(t, "a", false)
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL)
	r.signal(syscall.SIGHUP)
	r.logged("the configuration was read")
	r.want(200, "POST", "/v1/transactions", branchesOf("t", "a"))
	r.stop()
}

// TestServeReloadKeepsFlags: what the file says of a participant of the command line
// changes nothing.
func TestServeReloadKeepsFlags(t *testing.T) {
	t.Parallel()
	a := newService(t, "a", false)
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, participantsFile("a", "http://127.0.0.1:1", "b", a.URL))
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL, "--config", file)
	put(t, file, participantsFile("c", a.URL))
	r.logged("a participant was taken out", `"participant":"b"`)
	r.want(200, "POST", "/v1/transactions", branchesOf("t", "a"))
	r.want(200, "POST", "/v1/transactions", branchesOf("u", "c"))
	r.stop()
}
