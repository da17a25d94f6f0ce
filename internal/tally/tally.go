// Package tally keeps the counts of what the tests have done, so that the page that
// says what was tried is written by the run that tried it.
package tally

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Env names the directory into which counts are written; they are only printed if it
// is not set.
const Env = "DTC_TALLY"

// Count is how often something was done, or how much of it there was.
type Count struct {
	Test string `json:"test"` // the package's directory and the test's name
	Of   string `json:"of"`   // the machinery: simulator, explorer, canaries, failpoints, …
	What string `json:"what"`
	N    int64  `json:"n"`
}

// Add prints a count, and fails the test if it is below least: a run that did nothing
// must not pass.
func Add(t testing.TB, of, what string, n, least int64) {
	t.Helper()
	t.Logf("%s: %d %s", of, n, what)
	if n < least {
		t.Errorf("%s: %d %s, want at least %d: too little was tried", of, n, what, least)
	}
	dir := os.Getenv(Env)
	if dir == "" {
		return
	}
	if err := write(dir, Count{Test: t.Name(), Of: of, What: what, N: n}); err != nil {
		t.Errorf("keeping a count: %v", err)
	}
}

func write(dir string, c Count) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	name := strings.NewReplacer("/", "-", " ", "-").Replace(fmt.Sprintf("%s-%d.json", c.Of, os.Getpid()))
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(append(line, '\n')); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
