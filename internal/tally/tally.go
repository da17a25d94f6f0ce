// Package tally keeps the counts of what the tests have done, so that the page that
// says what was tried is written by the run that tried it.
package tally

import (
	"encoding/json"
	"errors"
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
	Dir  string `json:"dir"`  // of the test's package, from the root of the repository
	Test string `json:"test"` // with the names of subtests
	Of   string `json:"of"`   // the machinery: simulator, explorer, canaries, failpoints, …
	What string `json:"what"`
	N    int64  `json:"n"`
}

// Add prints a count, and fails the test if it is below least: a run that did nothing
// must not pass. Counts of the same thing are added up, also over processes.
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
	if err := write(dir, Count{Dir: packageDir(), Test: t.Name(), Of: of, What: what, N: n}); err != nil {
		t.Errorf("keeping a count: %v", err)
	}
}

// packageDir is where go test runs the tests of a package.
func packageDir() string {
	wd, err := os.Getwd()
	if err != nil {
		return "?"
	}
	for root := wd; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
			if rel, err := filepath.Rel(root, wd); err == nil {
				return filepath.ToSlash(rel)
			}
		}
		if root == filepath.Dir(root) {
			return "?"
		}
	}
}

// write adds a line to a file that no other process writes to, in one write.
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
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
