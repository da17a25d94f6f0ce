package explore

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
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
			t.Log(res)
			tally.Add(t, "explorer", "states of "+w.name(), int64(res.States), w.least)
			switch {
			case res.Violated != "":
				t.Fatal(res.Story())
			case !res.Complete || res.Healed < res.States:
				t.Fatalf("%d of %d states were seen to come to rest", res.Healed, res.States)
			case w.least == 0 || slices.Contains(w.sees(&res.Seen), 0):
				t.Fatalf("what the world is for was not seen: %+v", res.Seen)
			}
		})
	}
}

// TestSoakOnces walks larger ones, each whole, until the time is over.
func TestSoakOnces(t *testing.T) {
	if soak() == 0 {
		t.Skip("DTC_SOAK_HOURS and DTC_SOAK_SECONDS are not set")
	}
	end := time.Now().Add(soak())
	for i, r := range soakOnces {
		if time.Now().After(end) {
			t.Logf("the time is over; the first of %d worlds not walked: %v", len(soakOnces)-i, &r)
			return
		}
		t.Run(r.name(), func(t *testing.T) {
			res := exploreOnce(&r, maxStates, end, func(_, _ *onceWorld) {})
			t.Log(res)
			if res.Violated != "" {
				t.Fatal(res.Story())
			}
			if !res.Complete {
				t.Logf("cut after %d states", res.States)
			}
		})
	}
}

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
	for what := askFor; what <= dropSeals; what++ {
		if words := (onceMove{what: what}).words(); words == "" || strings.Contains(words, "%") {
			t.Errorf("move %d is called %q", what, words)
		}
	}
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
	keyOf := func(w *onceWorld) sum { return hash(w.key(&keyed, nil)) }
	classes := map[sum]sum{} // to the sum of what comes next
	states := 0
	var from *onceWorld
	var me sum
	var next []sum
	note := func() {
		slices.SortFunc(next, compareSums)
		all := []byte{}
		for _, k := range slices.Compact(next) {
			all = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(all, k.hi), k.lo)
		}
		if before, ok := classes[me]; ok && before != hash(all) {
			t.Fatalf("two worlds with the key of %+v can do different things", *from)
		}
		classes[me] = hash(all)
		states++
	}
	res := exploreOnce(r, limit, time.Time{}, func(w, to *onceWorld) {
		if w != from {
			if from != nil {
				note()
			}
			from, me, next = w, keyOf(w), next[:0]
		}
		if k := keyOf(to); k != me {
			next = append(next, k)
		}
	})
	note() // of the last state
	t.Logf("%d states have %d keys", states, len(classes))
	if res.Violated != "" || len(classes) >= states {
		t.Errorf("%v: no two states have the same key", res)
	}
}
