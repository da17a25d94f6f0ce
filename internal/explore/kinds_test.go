package explore

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/tally"
)

// rules are those of a world of any kind.
type rules interface {
	fmt.Stringer
	name() string
	explore(limit int, end time.Time) result
}

// result is that of any kind.
type result interface {
	fmt.Stringer
	walked() *Walk
}

func (w *Walk) walked() *Walk { return w }

func (r *Rules) explore(limit int, end time.Time) result     { return explore(r, limit, end) }
func (r *PairRules) explore(limit int, end time.Time) result { return explorePair(r, limit, end) }
func (r *OnceRules) explore(limit int, end time.Time) result { return exploreOnce(r, limit, end) }

// mustHold looks at a world that was walked whole: it has its states, and what it is for
// happened in it.
func mustHold(t *testing.T, r rules, res result, least int64, seen []int) {
	t.Helper()
	t.Log(res)
	w := res.walked()
	tally.Add(t, "explorer", "states of "+r.name(), int64(w.States), least)
	switch {
	case w.Violated != "":
		t.Fatal(w.Story())
	case least == 0:
		t.Fatal("nobody has said how many states the world has")
	case !w.Complete:
		t.Fatalf("the search was cut after %d states", w.States)
	case w.Healed < w.States:
		t.Fatalf("only %d of %d states were seen to come to rest", w.Healed, w.States)
	case w.Transitions < w.States || slices.Contains(seen, 0):
		t.Fatalf("what the world is for was not seen: %v", seen)
	}
}

// soakAll walks larger worlds, each whole, until the time is over.
func soakAll[R any, P interface {
	*R
	rules
}](t *testing.T, worlds []R) {
	t.Helper()
	if soak() == 0 {
		t.Skip("DTC_SOAK_HOURS and DTC_SOAK_SECONDS are not set")
	}
	end := time.Now().Add(soak())
	for i := range worlds {
		r := P(&worlds[i])
		if time.Now().After(end) {
			t.Logf("the time is over; the first of %d worlds not walked: %v", len(worlds)-i, r)
			return
		}
		t.Run(r.name(), func(t *testing.T) {
			res := r.explore(maxStates, end)
			t.Log(res)
			if w := res.walked(); w.Violated != "" {
				t.Fatal(w.Story())
			} else if !w.Complete {
				t.Logf("cut after %d states", w.States)
			}
		})
	}
}

// keyIsExact: for every state of a walk with fewer reductions, the keys of what may come
// next depend on nothing but its own key.
func keyIsExact[W, M any](t *testing.T, key func(w *W, dst []byte) []byte, explore func(as watch[W, M]) *Walk) {
	t.Helper()
	var buf []byte
	keyOf := func(w *W) sum {
		buf = key(w, buf[:0])
		return hash(buf)
	}
	classes := map[sum]sum{} // to the sum of what comes next
	states := 0
	var from *W
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
	w := explore(watch[W, M]{
		state: func(w *W) {
			if from != nil {
				note()
			}
			from, me, next = w, keyOf(w), next[:0]
		},
		step: func(_, to *W, _ M) {
			if k := keyOf(to); k != me {
				next = append(next, k)
			}
		},
	})
	note() // of the last state
	t.Logf("%d states have %d keys", states, len(classes))
	switch {
	case w.Violated != "":
		t.Error(w.Story())
	case w.Complete && states != w.States:
		t.Errorf("%d of %d states were looked at", states, w.States)
	case len(classes) >= states:
		t.Error("no two states have the same key")
	}
}

func compareSums(a, b sum) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) }

// compare: with reductions exactly the same is seen as with none.
func compare[O comparable](t *testing.T, how string, whole, seen map[O]bool) {
	t.Helper()
	for o := range whole {
		if !seen[o] {
			t.Errorf("%s hides %+v", how, o)
			break
		}
	}
	for o := range seen {
		if !whole[o] {
			t.Errorf("%s invents %+v", how, o)
			break
		}
	}
}

// mustSpeak: every move, up to the last one, has words for a trace, but for those whose
// words are said with what they are about.
func mustSpeak[K ~uint8](t *testing.T, last K, words func(what K) string, but ...K) {
	t.Helper()
	for what := K(0); what <= last; what++ {
		if w := words(what); w == "" && !slices.Contains(but, what) || strings.Contains(w, "%") {
			t.Errorf("move %d is called %q", what, w)
		}
	}
}
