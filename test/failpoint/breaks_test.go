package failpoint_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dtc-project/dtc/test/failpoint/internal/node"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// What kills look for is found: a participant that acknowledges commits without effect, and
// two that do not keep what they promise for one phase.
func TestBreakIsFound(t *testing.T) {
	var wg sync.WaitGroup
	for breakage, complaints := range map[string][]string{
		node.CommitLost: {"still held"},
		oracle.NoProof:  {"told rolled back, and committed", "whether there is proof of it is false"},
		oracle.Unsealed: {"told rolled back, and committed"},
	} {
		child := build(t, "child", "failpoint")
		wg.Go(func() {
			t.Run(breakage, func(t *testing.T) {
				var missed, wrong []string
				for range 5 { // what comes late may come too late, where processors are scarce
					wrong = breakIt(t, library{child: child, breakage: breakage})
					if missed = missing(complaints, wrong); len(missed) == 0 {
						t.Logf("found: %s", wrong[0])
						return
					}
				}
				t.Errorf("no %q, only: %q", missed, wrong)
			})
		})
	}
	wg.Wait()
}

// breakIt returns what was wrong with two lives of a broken installation, of which the
// first is killed.
func breakIt(t *testing.T, f library) []string {
	w := newWorld(t, newSum(), f)
	w.mild = true
	w.live(life{work: 34, arm: arm{point: "tx/end-appended", hit: 8}})
	w.live(life{work: 34, ask: true})
	if err := w.judge(w.dir); err != nil {
		t.Fatal(err)
	}
	return w.wrong
}

// missing returns the complaints that are not among those that were made.
func missing(complaints, made []string) (missed []string) {
	for _, c := range complaints {
		if !slices.ContainsFunc(made, func(wrong string) bool { return strings.Contains(wrong, c) }) {
			missed = append(missed, c)
		}
	}
	return missed
}
