package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

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
	t.Parallel()
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
	time.Sleep(oneSignal + 100*time.Millisecond)
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

// TestServeSignalTwice: a signal that comes twice at once, as timeout(1) sends it, is
// one.
func TestServeSignalTwice(t *testing.T) {
	t.Parallel()
	a := newService(t, "a", false)
	a.enter, a.leave = make(chan string, 1), make(chan bool)
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL, "--prepare-timeout", "1m", "--prepare-attempt", "1m")
	gone := make(chan string, 1)
	go func() { _, text, _ := r.do("POST", "/v1/transactions", branchesOf("t", "a")); gone <- text }()
	<-a.enter
	r.signal(syscall.SIGTERM)
	r.signal(syscall.SIGTERM)
	r.logged("draining")
	r.signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond) // it would be gone by now
	a.leave <- true
	if tx := r.transaction(<-gone); tx.Outcome == nil || *tx.Outcome != "committed" {
		t.Errorf("%+v", tx)
	}
	if code := r.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
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
