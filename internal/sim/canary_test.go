//go:build canary

package sim

import (
	"testing"

	"github.com/dtc-project/dtc/internal/canary"
)

// breaks says what each bug must be found to break: a world that fails for another
// reason has found something else.
var breaks = map[canary.Bug]string{
	canary.TellBeforeSync:      "I3",
	canary.PresumeBeforeReplay: "I14",
	canary.ForgetBeforeLastAck: "I10",
	canary.BelieveNotFound:     "I10",
	canary.LookBeforeList:      "I14",
	canary.NoSecondRollback:    "I10",
	canary.LowWaterPastUnswept: "low water",
}

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
					if res.Violated != breaks[bug] || len(res.Trace) == 0 {
						t.Errorf("it must break %q, and the trace must say how", breaks[bug])
					}
					return
				}
			}
			t.Fatalf("%s was not found in %d states", bug, states)
		})
	}
}

// canaryStates is the budget in each world.
const canaryStates = 1_000_000
