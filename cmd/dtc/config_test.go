package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

// noDTC takes what would configure a server out of the environment of a test.
func noDTC(t *testing.T) {
	for _, s := range config.Settings {
		t.Setenv(s.Variable(), "")
	}
	t.Setenv("DTC_PARTICIPANT", "")
	t.Setenv("DTC_CONFIG", "")
}

func TestConfigCheck(t *testing.T) {
	noDTC(t)
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: x\nprepare_timeout: 3s\nparticipants:\n  a: {url: 'http://us3r:hunter2@127.0.0.1:1/base', backoff: 1s}\n")
	t.Setenv("DTC_DRAIN_TIMEOUT", "7s")
	r := call(t, "config", "check", file)
	r.want(t, exitDone, "prepare_timeout: 3s", "# "+file+":2\n", "drain_timeout: 7s", "# DTC_DRAIN_TIMEOUT\n", "listen: 127.0.0.1:7420", "# default\n", "url: http://127.0.0.1:1/base # with credentials", "    backoff: 1s\n")
	if r.err != "" || strings.Contains(r.out, "hunter2") || strings.Contains(r.out, "us3r") {
		t.Error(r.out, r.err)
	}
	var report checkReport
	j := call(t, "config", "check", file, "-o", "json")
	j.want(t, exitDone)
	j.decode(t, &report)
	if p := report.Participants["a"]; !report.OK || report.Settings["prepare_timeout"] != "3s" || report.From["data"] != file+":1" || p.URL != "http://127.0.0.1:1/base" || !p.Credentials || p.Timing["backoff"] != "1s" || p.Timing["prepare_timeout"] != "3s" || strings.Contains(j.out, "hunter2") {
		t.Error(j.out)
	}
	// What it prints is understood again, and says the same.
	again := filepath.Join(t.TempDir(), "again.yaml")
	put(t, again, r.out)
	call(t, "config", "check", again).want(t, exitDone, "prepare_timeout: 3s", "    backoff: 1s\n")
}

func TestConfigCheckTellsAllMistakes(t *testing.T) {
	noDTC(t)
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "dta: x\nprepare_timeout: 3\nparticipants:\n  a: {url: 'ftp://us3r:hunter2@127.0.0.1'}\n  a: {}\n")
	t.Setenv("DTC_DRAIN_TIMEOUT", "7")
	r := call(t, "config", "check", file)
	r.want(t, exitFailed, file+`:1: unknown key "dta", did you mean "data"?`, file+":2: ", file+":4: ", file+":5: ", "DTC_DRAIN_TIMEOUT: ", "5 mistakes")
	if strings.Contains(r.out+r.err, "hunter2") {
		t.Error(r.out, r.err)
	}
	var report checkReport
	j := call(t, "config", "check", file, "-o", "json")
	j.want(t, exitFailed)
	j.decode(t, &report)
	if report.OK || len(report.Mistakes) != 5 || report.Report != nil {
		t.Error(j.out)
	}
	for _, m := range report.Mistakes {
		if m.Message == "" || m.At == file != (m.Line > 0) {
			t.Errorf("%+v", m)
		}
	}
	call(t, "config", "check", file+".not").want(t, exitFailed, "no such file")
	call(t, "config", "check").want(t, exitUsage)
	call(t, "config").want(t, exitUsage, "check", "token")
}
