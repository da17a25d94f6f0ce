package procfaults_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc/test/internal/procs"
)

// binaries is where dtc is built, and where this test binary is copied to: another
// account must be able to run it.
var binaries string

// buildFlags are the test's own.
var buildFlags []string

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(childMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	err := prepare()
	defer os.RemoveAll(binaries)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func prepare() (err error) {
	if binaries, err = os.MkdirTemp("", "dtc-procfaults-bin-"); err != nil {
		return err
	}
	if err := os.Chmod(binaries, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(binaries, "self"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	_, err = procs.Build(binaries, buildFlags...)
	return err
}
