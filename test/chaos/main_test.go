// Package chaos_test runs a whole installation and makes everything go wrong that can:
// a server (`dtc serve`), three participants with databases of their own and several
// clients, each a process but for the clients, with networks between them that lose,
// repeat and delay, processes that are killed and stopped at any moment, and, where the
// machine has network namespaces and nftables, partitions.
//
// Then everything heals, what is unfinished must finish, and package oracle holds what
// the participants have against what the clients were told.
package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dtc-project/dtc/test/internal/procs"
)

// childEnv, if set, makes the test binary a participant.
const childEnv = "DTC_TEST_CHAOS_PARTICIPANT"

// binaries is where the server is built, and buildFlags are the test's own.
var (
	binaries   string
	buildFlags []string
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(participantMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Where the test runs itself in a network namespace, the server is built already.
	if binaries = os.Getenv(binariesEnv); binaries == "" {
		var err error
		if binaries, err = os.MkdirTemp("", "dtc-chaos-bin-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(binaries)
	}
	return m.Run()
}

const binariesEnv = "DTC_TEST_CHAOS_BINARIES"

var build sync.Mutex

// dtcBinary returns the path of the server's binary, which is built once.
func dtcBinary(t *testing.T) string {
	t.Helper()
	build.Lock()
	defer build.Unlock()
	path := filepath.Join(binaries, "dtc")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if _, err := procs.Build(binaries, buildFlags...); err != nil {
		t.Fatal(err)
	}
	return path
}
