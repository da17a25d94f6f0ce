package serving

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Guided does what a guide says that others do who prepare a branch themselves: its first
// script that begins a transaction, with the parts of it replaced that are another's
// here. It returns what the script has said.
func (p *Process) Guided(t *testing.T, guide string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", guide))
	if err != nil {
		t.Fatal(err)
	}
	script := ""
	for block := range strings.SplitSeq(string(text), "```sh\n") {
		if block, _, _ = strings.Cut(block, "```"); script == "" && strings.HasPrefix(block, "dtc=") {
			script = block
		}
	}
	for _, old := range append([]string{"http://127.0.0.1:7420"}, even(replace)...) {
		if !strings.Contains(script, old) {
			t.Fatalf("%s has no script with %q", guide, old)
		}
	}
	script = strings.NewReplacer(append(replace, "http://127.0.0.1:7420", p.URL)...).Replace(script)
	out, err := exec.CommandContext(t.Context(), "sh", "-euc", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

func even(list []string) (all []string) {
	for i := 0; i < len(list); i += 2 {
		all = append(all, list[i])
	}
	return all
}
