//go:build canary

package suite

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/dtc-project/dtc/internal/canary"
	"github.com/dtc-project/dtc/internal/tally"
)

// table says for each bug which tests must find it, and what they must say: a test
// that fails for another reason has found something else. The first one's number is kept: that
// of the state, seed or step, or 1 for a test that is run once.
var table = []struct {
	bug     Bug
	finders []finder
}{
	{TellBeforeSync, []finder{explorer(TellBeforeSync, "I3"), simulator("I3")}},
	{PresumeBeforeReplay, []finder{explorer(PresumeBeforeReplay, "I14")}},
	{ForgetBeforeLastAck, []finder{explorer(ForgetBeforeLastAck, "I10"), simulator("L1|L2|I10|I2")}},
	{BelieveNotFound, []finder{explorer(BelieveNotFound, "I10")}},
	{LookBeforeList, []finder{explorer(LookBeforeList, "I14"), test("", "TestCanaries", `--- PASS: .*look-before-list \(`)}},
	{NoSecondRollback, []finder{explorer(NoSecondRollback, "I10")}},
	{LowWaterPastUnswept, []finder{explorer(LowWaterPastUnswept, "low water")}},
	{LowWaterPastUnfinished, []finder{explorer(LowWaterPastUnfinished, "low water")}},
	{SweepTheLive, []finder{explorer(SweepTheLive, "I14")}},
	{SpareTheSilent, []finder{explorer(SpareTheSilent, "I10"), simulator("L1|L2")}},
	{OneVoteMissing, []finder{explorer(OneVoteMissing, "I2"), simulator("I2|I3")}},
	{ReadOnlyDecides, []finder{explorer(ReadOnlyDecides, "I3"), simulator("I3")}},
	{AbortReversed, []finder{explorer(AbortReversed, "I2")}},
	{PlainNotForced, []finder{explorer(PlainNotForced, "rest"), simulator("L1|L2")}},
	{RecoverFirstBranch, []finder{explorer(RecoverFirstBranch, "I10"), simulator("L1|L2|L3|I10")}},
	{RecoverWithoutVotes, []finder{explorer(RecoverWithoutVotes, "I10"), simulator("L1|L2|L3|I10")}},

	{PresumeOnePhase, []finder{once(PresumeOnePhase, "I5"), simulator("I1|I4")}},
	{RecoverOnePhaseAborts, []finder{once(RecoverOnePhaseAborts, "I5"), simulator("I1|I4")}},
	{OnePhaseErrorAborts, []finder{once(OnePhaseErrorAborts, "I5"), simulator("I1|I4")}},
	{PresumeUnsent, []finder{once(PresumeUnsent, "I5")}},
	{DroppedRolledBack, []finder{once(DroppedRolledBack, "I4")}},
	{AnswerOverStatement, []finder{once(AnswerOverStatement, "I4")}},
	{StatementDoubtIgnored, []finder{once(StatementDoubtIgnored, "I4")}},
	{IgnoreContradiction, []finder{once(IgnoreContradiction, "I17")}},
	{SettleBesideCall, []finder{once(SettleBesideCall, "calls")}},
	{ForgetOverHungCall, []finder{once(ForgetOverHungCall, "I10")}},

	{PresumeOwn, []finder{simulator("I1|I4|I5"), test("", "TestCanaries", `--- PASS: .*look-before-list-and-presume-own \(`)}},
	{SecondVoteCounts, []finder{test("internal/protocol", "TestScripts", `vote_changes_undecided.txt:\d+: want "hazard`)}},
	{BelieveFailedListing, []finder{simulator("I8|I10|low water")}},
	{IncarnationNotForced, []finder{simulator("L1|I15|I3")}},
	{LiveRequestNotCompared, []finder{test("", "TestSameID", "other branches while it runs: <nil>")}},
	{PastRequestNotCompared, []finder{test("", "TestSameID", "other branches afterwards: <nil>")}},
	{ForgetOutcomesEarly, []finder{test("", "TestEndedIsRemembered", "it is forgotten after")}},
	{RememberAbortsOnly, []finder{simulator("I10|I7")}},

	{SkipSync, []finder{simulator("I3"), test("wal", "TestCrashAtEveryStep", "acknowledged")}},
	{IgnoreFailedSync, []finder{simulator("I3"), test("wal", "TestFailedSync", "<nil>, want ErrUnknown")}},
	{RetryFailedSync, []finder{simulator("I3"), test("wal", "TestFailedSync", "<nil>, want ErrUnknown")}},
	{NoChecksum, []finder{test("wal", "TestCrashAtEveryStep", `step (\d+), image \d+: the two decoders`)}},
	{CutDurable, []finder{test("wal", "TestBitFlipsAfterCrash", "the first says sound .*, the second damaged")}},
	{ActOnUnsynced, []finder{test("wal", "TestCrashAtEveryStep", `step (\d+), image \d+: second opening: .* is damaged`), simulator("I3")}},
	{RotateUnsynced, []finder{test("wal", "TestRotationSyncs", "everything before position .* is durable"), simulator("I3")}},
	{MarkBeforeSync, []finder{simulator("I3"), test("wal", "TestCrash", "seed .* known to be durable")}},
	{RecycleLive, []finder{test("wal", "TestCheckpointAtEveryStep", `step (\d+), .*(?:not open|no prefix)`)}},
	{DropDecided, []finder{test("wal", "TestCheckpointAtEveryStep", `step (\d+), .*(?:not open|no prefix)`)}},
	{DropPlain, []finder{test("wal", "TestCheckpointAtEveryStep", `step (\d+), .*(?:not open|no prefix)`)}},
	{DropCommittedOutcomes, []finder{test("wal", "TestCheckpointsMeanTheSame", "the log means no prefix")}},
	{DropOutcomesEarly, []finder{test("wal", "TestOutcomesAreKept", "is forgotten after")}},
	{NamesUnsynced, []finder{simulator("I3"), test("wal", "TestCheckpointAtEveryStep", `step (\d+), `)}},

	{NoTombstone, []finder{guards(), simulator("I8")}},
	{CommitUnknown, []finder{guards()}},
	{PrepareAfterRollback, []finder{guards()}},
	{CommitTwice, []finder{guards(), simulator("I7|rest|L1")}},
	{VoteAnyway, []finder{guards(), simulator("I2|L1")}},
	{ReadOnlyKeeps, []finder{guards(), simulator("I3|L1|L2|L3")}},
	{PrunePrepared, []finder{guards()}},
	{PruneUnstored, []finder{guards(), simulator("L1|I8")}},

	{LowWaterOfNewest, []finder{pairs(LowWaterOfNewest, "low water")}},
	{PresumeUnderHold, []finder{pairs(PresumeUnderHold, "I1"), test("", "TestDecision", "is rollback, <nil>; want ask_later")}},
	{RecoverUnderHold, []finder{pairs(RecoverUnderHold, "I1"), test("", "ExampleCoordinator_Held", "--- FAIL: ExampleCoordinator_Held")}},
	{SweptDespiteHeld, []finder{pairs(SweptDespiteHeld, "low water"), test("", "TestLowWaterWaitsForTheUnclear", "which is listed and was committed")}},
	{RunIDTwice, []finder{pairs(RunIDTwice, "I4"), simulator("I3|I4|I7")}},
	{ForgetID, []finder{pairs(ForgetID, "I4"), simulator("I4|I7")}},
	{BranchByID, []finder{pairs(BranchByID, "I1")}},
}

// TestCanaries: each planted bug is found by each of its tests, for the reason for
// which it should be.
func TestCanaries(t *testing.T) {
	b := &bench{t.TempDir(), map[string]string{}}
	ways, bugs, tried := 0, 0, 0
	for _, row := range table {
		t.Run(string(row.bug), func(t *testing.T) {
			tried++
			for i, f := range row.finders {
				b.binary(t, f.pkg)
				began := time.Now()
				n, line, _ := b.run(t, f, row.bug, seeds)
				if n == 0 {
					t.Errorf("%s %s does not find it; it ends with\n%s", f.pkg, f.test, line)
					continue
				}
				ways++
				t.Logf("%s %s finds it at %d, in %.1f s: %s", f.pkg, f.test, n, time.Since(began).Seconds(), strings.TrimSpace(line))
				if i == 0 {
					tally.Add(t, "canaries", "runs until "+string(row.bug), int64(n), 1)
				}
			}
			if !t.Failed() {
				bugs++
			}
		})
	}
	if tried < len(table) {
		return // somebody asked for a few of them
	}
	tally.Add(t, "canaries", "planted bugs found", int64(bugs), 24)
	tally.Add(t, "canaries", "ways in which they are found", int64(ways), 24)
}

// TestControl: without a bug each of these tests is content.
func TestControl(t *testing.T) {
	b := &bench{t.TempDir(), map[string]string{}}
	done := map[string]bool{}
	for _, row := range table {
		for _, f := range row.finders {
			// Those named after the bugs switch them on by themselves: that the small
			// worlds are clean is for their own tests to show.
			if id := f.pkg + " " + f.test; !done[id] && !strings.Contains(f.test, "Canaries") {
				done[id] = true
				if _, line, passed := b.run(t, finder{f.pkg, f.test, "^--- FAIL"}, None, 300); !passed {
					t.Errorf("%s fails without a bug: %s", id, line)
				}
			}
		}
	}
	tally.Add(t, "canaries", "tests that pass without a bug", int64(len(done)), 10)
}

// TestEveryBugHasARow: what is named is listed, and what is listed is looked for.
func TestEveryBugHasARow(t *testing.T) {
	var names []string
	for _, source := range []string{"../bugs.go", "../explorer.go"} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Bug = "([^"]+)"`).FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	var listed, rows []string
	for _, bug := range All {
		listed = append(listed, string(bug))
	}
	for _, row := range table {
		rows = append(rows, string(row.bug))
	}
	for _, list := range [][]string{names, listed, rows} {
		slices.Sort(list)
	}
	if fmt.Sprint(names) != fmt.Sprint(listed) || fmt.Sprint(names) != fmt.Sprint(rows) {
		t.Errorf("named:  %v\nlisted: %v\nrows:   %v", names, listed, rows)
	}
}
