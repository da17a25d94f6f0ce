package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/cmd/dtc/internal/fleet"
)

// TestFollowerLooks: a file is taken when it has been the same twice, once; a mistake
// is told once; whoever asks is answered at once.
func TestFollowerLooks(t *testing.T) {
	noDTC(t)
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: x\n")
	var log safeBuffer
	s := &server{sources: &config.Sources{File: file}, log: slog.New(slog.NewTextHandler(&log, nil))}
	var err error
	if s.cfg, err = s.sources.Load(); err != nil {
		t.Fatal(err)
	}
	if s.fleet, err = fleet.Open(t.Context(), s.cfg, s.log); err != nil {
		t.Fatal(err)
	}
	defer s.fleet.Close()
	put(t, file, "data: x\nlog_level: info\n") // while the server started
	f := newFollower(s)
	told := func(what string, asked bool, read, refused, missing, restart int) {
		t.Helper()
		log.mu.Lock()
		log.buf.Reset()
		log.mu.Unlock()
		f.look(t.Context(), asked)
		text := log.String()
		for words, want := range map[string]int{
			"the configuration was read": read, "the configuration was refused": refused, "cannot be read": missing, "needs a restart": restart,
		} {
			if n := strings.Count(text, words); n != want {
				t.Errorf("%s: %q %d times, want %d: %s", what, words, n, want, text)
			}
		}
	}
	told("changed since it was read", false, 0, 0, 0, 0)
	told("settled", false, 1, 0, 0, 0)
	put(t, file, "data: x\nbackoff: 1s\n")
	told("just changed", false, 0, 0, 0, 0)
	put(t, file, "data: x\nbackoff: 1s\nlog_level: warn\n")
	told("still changing", false, 0, 0, 0, 0)
	told("settled", false, 1, 0, 0, 1)
	told("taken", false, 0, 0, 0, 0)
	told("asked", true, 1, 0, 0, 1)
	put(t, file, "data: x\nback: 1s\nof: 2\n")
	told("just changed", false, 0, 0, 0, 0)
	told("wrong", false, 0, 2, 0, 0)
	told("still wrong", false, 0, 0, 0, 0)
	told("wrong, and asked", true, 0, 2, 0, 0)
	put(t, file, "data: x\n")
	told("right, and asked", true, 1, 0, 0, 0)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	told("gone", false, 0, 0, 1, 0)
	told("still gone", false, 0, 0, 0, 0)
	told("gone, and asked", true, 0, 0, 1, 0)
	put(t, file, "data: x\n")
	told("back as it was", false, 0, 0, 0, 0)
	told("back as it was", false, 0, 0, 0, 0)
	put(t, file, "tokens_file: nope\n")
	told("names a file that is not there, and asked", true, 0, 1, 0, 0)
}
