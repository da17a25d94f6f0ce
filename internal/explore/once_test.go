package explore

import (
	"testing"
	"time"
)

// onceCase is a world of one phase, how many states it has, and what must be seen in it.
type onceCase struct {
	OnceRules
	least int64
	sees  func(n *OnceSights) []int
}

func rerunSights(n *OnceSights) []int {
	return []int{n.Committed, n.RolledBack, n.Beside, n.Recovered, n.Lost, n.Fenced, n.Sealed, n.Rerun, n.CommittedAfter, n.Found}
}

func operatorSights(n *OnceSights) []int { return append(rerunSights(n), n.Stating, n.Contradicted) }
func doubtfulSights(n *OnceSights) []int { return append(operatorSights(n), n.Doubtful) }
func droppedSights(n *OnceSights) []int  { return append(rerunSights(n), n.Dropped) }

// smallOnces are walked under the race detector, and for every planted bug.
var smallOnces = []onceCase{
	{OnceRules{Runs: 2, Crashes: 1}, 2_876, rerunSights},
	{OnceRules{Runs: 2, Crashes: 1, Dropping: true}, 3_844, droppedSights},
	{OnceRules{Runs: 2, Crashes: 1, Statements: 1, Withdrawals: true}, 25_919, operatorSights},
	{OnceRules{Runs: 2, Crashes: 1, Statements: 1, LogFaults: 1}, 74_624, doubtfulSights},
}

// soakOnces are larger ones.
var soakOnces = []OnceRules{
	{Runs: 3, Crashes: 3, Statements: 1, Dropping: true},
	{Runs: 2, Crashes: 3, Statements: 2, LogFaults: 1, Withdrawals: true},
	{Runs: 3, Crashes: 3, Statements: 2, LogFaults: 2, Withdrawals: true, Dropping: true},
}

// TestOnces walks every state of the worlds of one phase of an ordinary run.
func TestOnces(t *testing.T) {
	for _, w := range onces {
		t.Run(w.name(), func(t *testing.T) {
			t.Parallel()
			res := ExploreOnce(&w.OnceRules, maxStates)
			mustHold(t, &w.OnceRules, res, w.least, w.sees(&res.Seen))
		})
	}
}

// TestSoakOnces walks larger ones.
func TestSoakOnces(t *testing.T) { soakAll(t, soakOnces) }

// TestOnceSins: each promise of a participant is needed; without it the damage is this.
func TestOnceSins(t *testing.T) {
	for _, tt := range []struct {
		sin    sin
		damage string
	}{
		{noFence, "I8"},
		{lateFence, "I8"},
		{forgetsSeals, "I8"},
		{notAtomic, "I7"},
		{notAtomic, "I8"},
		{byXID, "I7"},
		{byXID, "I8"},
	} {
		t.Run(tt.sin.String()+"/"+tt.damage, func(t *testing.T) {
			r := OnceRules{Runs: 2, Crashes: 1, Sin: tt.sin, only: tt.damage}
			res := ExploreOnce(&r, maxStates)
			if res.Violated != tt.damage || len(res.Trace) == 0 {
				t.Fatalf("%v breaks %q, want %s", res, res.Violated, tt.damage)
			}
			t.Log(res.Story())
		})
	}
}

// TestOnceSentences: every move of a world of one phase has words for a trace.
func TestOnceSentences(t *testing.T) {
	mustSpeak(t, dropSeals, func(what onceWhat) string { return onceMove{what: what}.words() })
}

// TestOnceKeyIsExact: what may happen in a world of one phase is a function of its key, as
// in TestKeyIsExact. Without oblivion attempts are counted, and there is no end of states:
// so many of the first ones are looked at.
func TestOnceKeyIsExact(t *testing.T) {
	for _, w := range smallOnces {
		t.Run(w.name(), func(t *testing.T) {
			t.Parallel()
			r := w.OnceRules
			r.Without = oblivion
			onceKeyIsExact(t, &r, 30_000)
		})
	}
}

func onceKeyIsExact(t *testing.T, r *OnceRules, limit int) {
	t.Helper()
	keyed := *r
	keyed.Without = 0
	key := func(w *onceWorld, dst []byte) []byte { return w.key(&keyed, dst) }
	keyIsExact(t, key, func(as watch[onceWorld, onceMove]) *Walk { return &exploreOnce(r, limit, time.Time{}, as).Walk })
}
