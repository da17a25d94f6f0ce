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

	canary.LowWaterPastUnfinished: "low water",
	canary.SweepTheLive:           "I14",
	canary.SpareTheSilent:         "I10",
	canary.OneVoteMissing:         "I2",
	canary.ReadOnlyDecides:        "I3",
	canary.AbortReversed:          "I2",
	canary.PlainNotForced:         "rest",
	canary.RecoverFirstBranch:     "I10",
	canary.RecoverWithoutVotes:    "I10",
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
		if finds(t, bug, breaks[bug], &r, &res.Walk, states, with == allReductions) {
			return
		}
	}
	t.Fatalf("%s was not found in %d states", bug, states)
}

// finds reports whether a bug was found in a world, after so many states. It must then
// break what it has to break.
func finds(t *testing.T, bug canary.Bug, breaks string, r rules, w *Walk, states int, tell bool) bool {
	t.Helper()
	if w.Violated == "" {
		return false
	}
	t.Logf("%s violates %s after %d states, in %d moves, in %v", bug, w.Violated, states, w.Moves, r)
	if tell {
		t.Log("\n" + w.Story())
	}
	if w.Violated != breaks || len(w.Trace) == 0 {
		t.Errorf("it must break %q, and the trace must say how:\n%s", breaks, w.Story())
	}
	return true
}

// pairBreaks says what damage the worlds of two must find that a bug does: they look
// for nothing else.
var pairBreaks = map[canary.Bug]string{
	canary.TellBeforeSync:      "I3",
	canary.LowWaterPastUnswept: "low water",
	canary.LowWaterOfNewest:    "low water",
	canary.SweptDespiteHeld:    "low water",
	canary.PresumeUnderHold:    "I1",
	canary.RecoverUnderHold:    "I1",
	canary.RunIDTwice:          "I4",
	canary.ForgetID:            "I4",
	canary.BranchByID:          "I1",
}

// TestPairCanaries: what takes two transactions or a restored log is found in the small
// worlds of two, with their reductions and without.
func TestPairCanaries(t *testing.T) {
	for bug, breaks := range pairBreaks {
		for _, off := range []reduction{0, oblivion, listingNow, oblivion | listingNow} {
			t.Run(string(bug)+"/without "+off.String(), func(t *testing.T) {
				canary.Active = bug
				defer func() { canary.Active = canary.None }()
				mustFindPair(t, bug, breaks, off)
			})
		}
	}
	for _, bug := range canary.Pairs {
		if pairBreaks[bug] == "" {
			t.Errorf("nobody looks for %s", bug)
		}
	}
}

func mustFindPair(t *testing.T, bug canary.Bug, breaks string, off reduction) {
	t.Helper()
	for _, w := range smallPairs {
		if bug == canary.BranchByID && !w.SameID {
			continue // the caller's ids are different there
		}
		w.Without, w.only = off, breaks
		res := ExplorePair(&w.PairRules, canaryStates)
		if finds(t, bug, breaks, &w.PairRules, &res.Walk, res.States, off == 0) {
			return
		}
	}
	t.Fatalf("%s was not found", bug)
}

// onceBreaks says the same for the worlds of one phase.
var onceBreaks = map[canary.Bug]string{
	canary.PresumeOnePhase:       "I5",
	canary.RecoverOnePhaseAborts: "I5",
	canary.OnePhaseErrorAborts:   "I5",
	canary.PresumeUnsent:         "I5",
	canary.DroppedRolledBack:     "I4",
	canary.AnswerOverStatement:   "I4",
	canary.StatementDoubtIgnored: "I4",
	canary.IgnoreContradiction:   "I17",
	canary.SettleBesideCall:      "calls",
	canary.ForgetOverHungCall:    "I10",
}

// TestOnceCanaries: what is planted in one phase is found in the small worlds of it.
func TestOnceCanaries(t *testing.T) {
	for bug, breaks := range onceBreaks {
		t.Run(string(bug), func(t *testing.T) {
			canary.Active = bug
			defer func() { canary.Active = canary.None }()
			for _, off := range []reduction{0, oblivion} {
				mustFindOnce(t, bug, breaks, off)
			}
		})
	}
}

func mustFindOnce(t *testing.T, bug canary.Bug, breaks string, off reduction) {
	t.Helper()
	for _, w := range smallOnces {
		w.Without = off
		limit := canaryStates
		if off != 0 {
			limit = 20_000 // without oblivion attempts are counted, and there is no end
		}
		res := ExploreOnce(&w.OnceRules, limit)
		if finds(t, bug, breaks, &w.OnceRules, &res.Walk, res.States, off == 0) {
			return
		}
	}
	t.Fatalf("%s was not found without %v", bug, off)
}

// canaryStates is the budget in each world.
const canaryStates = 1_000_000
