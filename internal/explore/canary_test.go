//go:build canary

package explore

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

// TestCanaries: every planted bug must be found in one of the small worlds, with
// all reductions, and with each of them by itself, and with none. That they are
// clean without a bug is for TestWorlds to show.
func TestCanaries(t *testing.T) {
	for bug := range breaks {
		t.Run(string(bug), func(t *testing.T) {
			canary.Active = bug
			defer func() { canary.Active = canary.None }()
			mustFind(t, bug, allReductions)
			for _, with := range append(eachReduction(), 0) {
				t.Run(with.String(), func(t *testing.T) { mustFind(t, bug, with) })
			}
		})
	}
}

func mustFind(t *testing.T, bug canary.Bug, with reduction) {
	t.Helper()
	states := 0
	for _, r := range smallWorlds {
		r.Without = allReductions &^ with
		res := Explore(&r, canaryStates)
		states += res.States
		if res.Violated == "" {
			continue
		}
		t.Logf("%s violates %s after %d states, in %d moves, in %v", bug, res.Violated, states, res.Moves, &r)
		if with == allReductions {
			t.Log("\n" + res.Story())
		}
		if res.Violated != breaks[bug] || len(res.Trace) == 0 {
			t.Errorf("it must break %q, and the trace must say how:\n%s", breaks[bug], res.Story())
		}
		return
	}
	t.Fatalf("%s was not found in %d states", bug, states)
}

// canaryStates is the budget in each world.
const canaryStates = 1_000_000
