//go:build !canary

package suite

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
)

var name = regexp.MustCompile(`(?m)^\t\w+ +Bug = "([^"]+)"`)

// TestShippedWithout: the binary that is shipped has no planted bug in it, not even
// the name of one.
func TestShippedWithout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dtc")
	build := exec.Command("go", "build", "-o", file, ".")
	build.Dir = "../../../cmd/dtc"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shipped, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, source := range []string{"../bugs.go", "../explorer.go"} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllSubmatch(text, -1) {
			names++
			if bytes.Contains(shipped, m[1]) {
				t.Errorf("the binary knows %q", m[1])
			}
		}
	}
	tally.Add(t, "canaries", "planted bugs that the binary does not have", int64(names), 24)
}
