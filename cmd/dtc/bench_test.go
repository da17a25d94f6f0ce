package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBench(t *testing.T) {
	dir := t.TempDir()
	r := execute(t, "bench", "--data", dir, "--callers", "1,3", "--rounds", "1", "--slice", "20ms", "-o", "json")
	if r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	var report struct {
		Rows []map[string]float64 `json:"rows"`
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 2 || report.Rows[1]["callers"] != 3 {
		t.Fatalf("%s", r.out)
	}
	for _, key := range []string{"tx_per_s", "bare_per_s", "ratio", "fsyncs_per_tx", "p50_us", "p99_us"} {
		if report.Rows[0][key] <= 0 {
			t.Errorf("%s is %v in %s", key, report.Rows[0][key], r.out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if r := execute(t, "bench", "--data", dir, "--callers", "2", "--rounds", "1", "--slice", "10ms"); r.code != exitDone || !strings.Contains(r.out, "fsyncs/tx") {
		t.Errorf("%+v", r)
	}
}

func TestBenchMistakes(t *testing.T) {
	for _, args := range [][]string{{"--callers", "0"}, {"--rounds", "0"}, {"--slice", "-1s"}, {"--callers", "x"}} {
		if r := execute(t, append([]string{"bench"}, args...)...); r.code != exitUsage {
			t.Errorf("%v: %+v", args, r)
		}
	}
	r := execute(t, "bench", "--data", filepath.Join(t.TempDir(), "none"))
	if r.code != exitFailed || !strings.Contains(r.err, "--data") {
		t.Errorf("%+v", r)
	}
}
