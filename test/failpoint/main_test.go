// Package failpoint_test kills real processes at each named step of the coordinator, of
// its log and of its server, kills those again that recover from it, and looks whether
// everything finishes as it was told.
//
// What is killed is a program with an embedded coordinator and participants over SQLite
// files, and `dtc serve` with participants in a process beside it. They are built with
// the tag failpoint, once, and without the race detector: hundreds of them are started.
package failpoint_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaries is where the children are built.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "dtc-failpoint-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	return m.Run()
}

var building sync.Mutex

// build returns the path of a binary, dtc or child, which is built once.
func build(t *testing.T, name, tag string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(binaries, name+tag)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	args := []string{"build", "-o", path}
	if tag != "" {
		args = append(args, "-tags", tag)
	}
	dir := filepath.Join(root, "cmd", "dtc")
	if name == "child" {
		dir = filepath.Join("internal", "child")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return path
}
