package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDoctorServer: a server that is well, one with a participant that is down, and one
// that is not there.
func TestDoctorServer(t *testing.T) {
	r, b := waiting(t, "order-1")
	until(t, "b is down", func() bool { return strings.Contains(r.want(200, "GET", "/v1/participants", ""), `"down"`) })
	sick := call(t, "doctor", "--server", r.URL)
	sick.want(t, exitFailed, "ok    server", "is ready", "bad   participant  b at", "does not answer", "bring it back", "1 are not finished", "1 of ")
	var doc struct {
		Findings []finding
		Bad      int
	}
	if err := json.Unmarshal([]byte(call(t, "doctor", "--server", r.URL, "-o", "json").out), &doc); err != nil || doc.Bad != 1 || len(doc.Findings) < 4 {
		t.Errorf("%+v, %v", doc, err)
	}
	b.away.Store(false)
	until(t, "b is back", func() bool { return call(t, "doctor", "--server", r.URL).code == exitDone })
	call(t, "doctor", "--server", r.URL).want(t, exitDone, "b at", "lists what it holds", "0 are not finished")

	s := httptest.NewServer(http.NotFoundHandler())
	call(t, "doctor", "--server", s.URL).want(t, exitFailed, "cannot be listed", "see whether it is 'dtc serve'")
	s.Close()
	call(t, "doctor", "--server", s.URL).want(t, exitFailed, "bad   server", s.URL, "dtc serve")
}

// TestDoctorTransactions: those that a person must look at are named.
func TestDoctorTransactions(t *testing.T) {
	a, b := newService(t, "a", true), newService(t, "b", true)
	r := serve(t, nil, "--data", dataDir(t), "--participant", "a="+a.URL, "--participant", "b="+b.URL, "--completion-wait", "0s")
	a.gate = make(chan bool)
	b.gate = make(chan bool)
	r.want(200, "POST", "/v1/transactions", branchesOf("t", "a", "b"))
	call(t, "tx", "resolve", "t", "a", "rolled_back", "--reason", "a is gone", "--yes", "--server", r.URL).want(t, exitDone)
	call(t, "doctor", "--server", r.URL).want(t, exitFailed, "1 did not end alike everywhere", "dtc tx show t")
	// It stays the same when all of it has ended.
	close(a.gate)
	close(b.gate)
	until(t, "b is finished", func() bool { return strings.Contains(call(t, "doctor", "--server", r.URL).out, "0 are not finished") })
	call(t, "doctor", "--server", r.URL).want(t, exitFailed, "1 did not end alike everywhere", "dtc tx show t", "tx list --state heuristic")
}

// TestDoctorCertificate: one that ends soon is told in time, and one that nobody vouches
// for.
func TestDoctorCertificate(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ours := newAuthority(t, "ours")
	cert, key := ours.pair("127.0.0.1", time.Hour)
	put(t, at("ca.pem"), ours.pem)
	put(t, at("dtc.pem"), cert)
	put(t, at("dtc.key"), key)
	r := launch(t, nil, "-o", "json", "--listen", "127.0.0.1:0", "--data", dataDir(t), "--tls-cert-file", at("dtc.pem"), "--tls-key-file", at("dtc.key"))
	until(t, "the server is ready", func() bool { return json.Unmarshal([]byte(r.out.String()), &r.greeting) == nil })
	call(t, "doctor", "--server", r.URL).want(t, exitFailed, "certificate")
	call(t, "doctor", "--server", r.URL, "--ca-file", at("ca.pem")).want(t, exitDone, "warn  server", "good for 0 days", "renew it")
}

// TestDoctorData: a log that is well, is in use, is written by others, or is damaged.
func TestDoctorData(t *testing.T) {
	r, _ := waiting(t, "order-1")
	dir := r.Data
	call(t, "doctor", "--data", dir).want(t, exitDone, "ok    log", "reads well", "1 unfinished", "MB are free")
	r.stop()
	call(t, "doctor", "--data", dir).want(t, exitDone, "1 unfinished")
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // that is what is to be found
		t.Fatal(err)
	}
	call(t, "doctor", "--data", dir).want(t, exitFailed, "chmod go-w")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	call(t, "doctor", "--data", t.TempDir()).want(t, exitFailed, "no decision log")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) < 100 {
			continue
		}
		text[40] ^= 0xff
		if err := os.WriteFile(f, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call(t, "doctor", "--data", dir).want(t, exitCorrupt, "What to do")
}

// TestDoctorConfig: a file that can be used, and one that cannot.
func TestDoctorConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: ./data\nlisten: 127.0.0.1:0\n")
	call(t, "doctor", "--config", file).want(t, exitDone, "ok    config")
	put(t, file, "data: ./data\nlistn: 127.0.0.1:0\n")
	call(t, "doctor", "--config", file).want(t, exitFailed, "bad   config", "dtc.yaml:2", "listen")
	call(t, "doctor", "--config", file+".none").want(t, exitFailed, "no such file")
	// What is no database is not passed over in silence, if that is what was asked for.
	call(t, "doctor", "--participant", "a=http://127.0.0.1:1").want(t, exitFailed, "bad   participant", "a is no database", "dtc conformance")
	put(t, file, "data: ./data\nlisten: 127.0.0.1:0\nparticipants:\n  a:\n    url: http://127.0.0.1:1\n")
	call(t, "doctor", "--config", file).want(t, exitDone, "ok    config")
}
