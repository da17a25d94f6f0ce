// Package kill_test kills a coordinator with SIGKILL at random moments, also
// while it recovers from the last kill, and looks for a transaction that was
// committed here and not there, or that ended otherwise than somebody was told.
//
// The coordinator, its callers and five participants over SQLite files live in a
// child process, which is this test binary again. The test reads what the child
// says, kills it, looks into its files, and starts the next one over them.
package kill_test

import (
	"os"
	"testing"
)

// nodeEnv, if set, makes the test binary a child.
const nodeEnv = "DTC_TEST_KILL_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "" {
		os.Exit(childMain())
	}
	os.Exit(m.Run())
}
