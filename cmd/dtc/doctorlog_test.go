package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/dtchttp"
)

// onLinux skips a test of what is known on Linux only.
func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
}

// TestDoctorInUse: that a server has the log is said, is nothing bad, and is over with
// the server; and to look does not keep a server from starting.
func TestDoctorInUse(t *testing.T) {
	onLinux(t)
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir)
	call(t, "doctor", "--data", dir).want(t, exitDone, fmt.Sprintf("ok    log          process %d is using it", r.cmd.Process.Pid))
	r.stop()
	if got := call(t, "doctor", "--data", dir); got.code != exitDone || strings.Contains(got.out, "using it") {
		t.Errorf("exit code %d:\n%s", got.code, got.out)
	}
}

// TestDoctorDamage: a damaged log is a finding like others, and the exit code says so.
func TestDoctorDamage(t *testing.T) {
	dir := dataDir(t)
	r := serve(t, nil, "--data", dir)
	r.stop()
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	text[40] ^= 0xff
	if err := os.WriteFile(segments[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: ./data\n")
	got := call(t, "doctor", "--data", dir, "--config", file, "-o", "json")
	got.want(t, exitCorrupt, "What to do")
	var doc struct {
		Findings []finding
		Bad      int
	}
	got.decode(t, &doc)
	bad, config := 0, 0
	for _, f := range doc.Findings {
		switch {
		case f.About == "log" && f.Level == levelBad && f.Advice != "":
			bad++
		case f.About == "config" && f.Level == levelOK:
			config++
		}
	}
	if bad != 1 || doc.Bad != 1 || config != 1 {
		t.Errorf("%+v", doc)
	}
}

// TestDoctorFiles: files that others may write, and a file that is not the owner's.
func TestDoctorFiles(t *testing.T) {
	dir := dataDir(t)
	serve(t, nil, "--data", dir).stop()
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	if err := os.Chmod(segments[0], 0o666); err != nil { //nolint:gosec // that is what is to be found
		t.Fatal(err)
	}
	call(t, "doctor", "--data", dir).want(t, exitFailed, "may write to 1 files", filepath.Base(segments[0]), "chmod go-w "+dir+"/*")
	if err := os.Chmod(segments[0], 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "doctor", "--data", dir).want(t, exitDone)
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		return // nobody else can give a file away
	}
	if err := os.Chown(segments[0], 12345, -1); err != nil {
		t.Fatal(err)
	}
	call(t, "doctor", "--data", dir).want(t, exitDone, "warn  disk", "1 files", "chown 0 ")
}

// TestDoctorFileSystems: what each kind means for a log.
func TestDoctorFileSystems(t *testing.T) {
	for kind, level := range map[string]string{"tmpfs": levelBad, "ramfs": levelBad, "overlay": levelWarn, "nfs": levelWarn, "9p": levelWarn} {
		var e examination
		if e.fileSystem(kind, "/data"); len(e.findings) != 1 || e.findings[0].Level != level || e.findings[0].Advice == "" || !strings.Contains(e.findings[0].What, "/data is on") {
			t.Errorf("%s: %+v", kind, e.findings)
		}
	}
	var e examination
	if e.fileSystem("", "/data"); len(e.findings) != 0 {
		t.Errorf("a disk: %+v", e.findings)
	}
}

// TestDoctorClock: a server whose clock is off, in either direction.
func TestDoctorClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		told  time.Duration
		level string
		text  string
	}{
		{0, levelOK, "agree"},
		{-time.Second, levelOK, "agree"},
		{4 * time.Second, levelOK, "agree"},
		{-6 * time.Second, levelOK, "agree"}, // it may be 5 s: the rest of a second is not told
		{time.Minute, levelWarn, "58s ahead of"},
		{-time.Minute, levelWarn, "59s behind"},
	} {
		var e examination
		e.clocks(now.Add(tt.told), now, now.Add(2*time.Second))
		if len(e.findings) != 1 || e.findings[0].Level != tt.level || !strings.Contains(e.findings[0].What, tt.text) {
			t.Errorf("%v: %+v", tt.told, e.findings)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"participants":[],"transactions":[]}`))
	}))
	defer s.Close()
	call(t, "doctor", "--server", s.URL).want(t, exitDone, "warn  server", "behind this machine's", "NTP")
	call(t, "doctor", "--server", serve(t, nil, "--data", dataDir(t)).URL).want(t, exitDone, "ok    server", "agree to within 5s")
}

// TestDoctorParticipants: what is said of each state of a participant.
func TestDoctorParticipants(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration) *dtchttp.Time { v := dtchttp.Time(now.Add(-ago)); return &v }
	for _, tt := range []struct {
		p     dtchttp.ParticipantStatus
		level string
		text  string
	}{
		{dtchttp.ParticipantStatus{ID: "a", Kind: "http", State: "up"}, levelOK, "plain"},
		{dtchttp.ParticipantStatus{ID: "a", Kind: "http", State: "up", Listing: true}, levelOK, "lists"},
		{dtchttp.ParticipantStatus{ID: "a", Kind: "http", State: "unknown"}, levelOK, "not been called"},
		{dtchttp.ParticipantStatus{ID: "a", InDoubt: 3, OldestInDoubt: at(time.Hour)}, levelBad, "left the configuration"},
		{dtchttp.ParticipantStatus{ID: "a", Kind: "http", State: "down", LastError: "x\n\x1b[2Jy"}, levelBad, "(x  [2Jy)"},
		{dtchttp.ParticipantStatus{ID: "a", Kind: "http", State: "up", InDoubt: 1, OldestInDoubt: at(time.Hour)}, levelWarn, "oldest for 1h"},
		{dtchttp.ParticipantStatus{ID: "a", Kind: "http", State: "up", InDoubt: 1, OldestInDoubt: at(time.Second)}, levelOK, "is up"},
	} {
		var e examination
		e.participant(tt.p, now)
		if len(e.findings) != 1 || e.findings[0].Level != tt.level || !strings.Contains(e.findings[0].What, tt.text) {
			t.Errorf("%+v: %+v", tt.p, e.findings)
		}
	}
	text, err := json.Marshal(finding{"a", levelOK, "b", ""})
	if err != nil || string(text) != `{"about":"a","level":"ok","what":"b","advice":""}` {
		t.Errorf("%s, %v", text, err)
	}
}
