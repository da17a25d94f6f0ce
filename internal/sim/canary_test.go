//go:build canary

package sim

import (
	"testing"

	"github.com/dtc-project/dtc/internal/canary"
)

// TestCanaries: every planted bug must be found in one of the small worlds. That
// they are clean without one is for TestWorlds to show.
func TestCanaries(t *testing.T) {
	for _, bug := range canary.All {
		t.Run(string(bug), func(t *testing.T) {
			canary.Active = bug
			defer func() { canary.Active = canary.None }()
			states := 0
			for i := range smallWorlds {
				res := Explore(&smallWorlds[i], canaryStates)
				states += res.States
				if res.Violated != "" {
					t.Logf("%s violates %s after %d states, in %d moves, in %v\n%s",
						bug, res.Violated, states, res.Moves, &smallWorlds[i], res.Story())
					return
				}
			}
			t.Fatalf("%s was not found in %d states", bug, states)
		})
	}
}

// canaryStates is the budget in each world.
const canaryStates = 1_000_000
