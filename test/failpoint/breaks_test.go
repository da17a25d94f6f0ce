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
				w := newWorld(t, newSum(), library{child: child, breakage: breakage})
				w.mild = true
				w.live(life{work: 34, arm: arm{point: "tx/end-appended", hit: 8}})
				w.live(life{work: 34, ask: true})
				if err := w.judge(w.dir); err != nil {
					t.Fatal(err)
				}
				for _, complaint := range complaints {
					i := slices.IndexFunc(w.wrong, func(wrong string) bool { return strings.Contains(wrong, complaint) })
					if i < 0 {
						t.Errorf("no %q, only: %q", complaint, w.wrong)
						continue
					}
					t.Logf("found: %s", w.wrong[i])
				}
			})
		})
	}
	wg.Wait()
}
