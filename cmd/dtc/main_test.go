package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var (
	buildFlags []string
	scratch    string // removed when all tests are over
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "dtc-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// binary builds the real program, once, unless test.sh has: with the race detector.
var binary = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("DTC_TEST_BINARY"); built != "" && len(buildFlags) > 0 {
		return built, nil
	}
	path := filepath.Join(scratch, "dtc")
	args := append([]string{"build", "-o", path}, buildFlags...)
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// result is how a run of the program ended.
type result struct {
	code     int
	out, err string
}

// execute runs the real program.
func execute(t *testing.T, args ...string) (r result) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), complaints.String()}
}

// call runs a command line inside the test.
func call(t *testing.T, args ...string) result {
	t.Helper()
	var out, complaints bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &out, &complaints)
	return result{code, out.String(), complaints.String()}
}

func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("it does not say %q", text)
		}
	}
	if t.Failed() {
		t.Fatalf("output:\n%s\ncomplaints:\n%s", r.out, r.err)
	}
}

func (r result) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		t.Fatalf("%v\noutput:\n%s\ncomplaints:\n%s", err, r.out, r.err)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"what"},
		{"log"},
		{"log", "what"},
		{"demo", "extra"},
		{"demo", "--what"},
		{"demo", "--orders", "many"},
		{"demo", "--orders", "-1"},
		{"demo", "-o", "yaml"},
		{"version", "-o", "yaml"},
		{"log", "verify"},
		{"log", "verify", "--data="},
		{"log", "dump", "extra", "--data", "."},
		{"log", "explain", "--data", "."},
		{"log", "explain", "a", "b", "--data", "."},
		{"config", "check"},
		{"tx", "show"},
		{"tx", "resolve", "a", "b", "--reason", "x", "--yes"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := call(t, args...)
			r.want(t, exitUsage, "dtc: ", "--help")
			if r.out != "" {
				t.Errorf("it printed to the standard output:\n%s", r.out)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	call(t, "--help").want(t, exitDone, "demo", "log", "version", "Exit codes")
	call(t, "log", "verify", "--help").want(t, exitDone, "--data DIR")
	if r := call(t, "--help"); strings.Contains(r.out, demoChild) {
		t.Error("the hidden command is shown")
	}
}

func TestVersion(t *testing.T) {
	call(t, "version").want(t, exitDone, "log format  2", "go1.")
	var v versionInfo
	call(t, "version", "-o", "json").decode(t, &v)
	if v.LogFormat != 2 || v.Go == "" || v.Version == "" {
		t.Errorf("%+v", v)
	}
}

// copyDir returns a copy of a data directory that the test may spoil.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// CopyFS does not keep a file from being read only.
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
