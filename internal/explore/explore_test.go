package explore

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/protocol"
	"github.com/dtc-project/dtc/internal/tally"
)

// TestWorlds walks every state of the worlds of an ordinary run.
func TestWorlds(t *testing.T) {
	for i := range worlds {
		t.Run(worlds[i].name(), func(t *testing.T) {
			t.Parallel()
			mustHold(t, &worlds[i])
		})
	}
}

// TestSoak walks larger worlds, each whole, until the time is over.
func TestSoak(t *testing.T) {
	end := time.Now().Add(soak())
	if soak() == 0 {
		t.Skip("DTC_SOAK_HOURS and DTC_SOAK_SECONDS are not set")
	}
	larger := soakWorlds()
	for i := range larger {
		if time.Now().After(end) {
			t.Logf("the time is over; the first of %d worlds not walked: %v", len(larger)-i, &larger[i])
			return
		}
		t.Run(larger[i].name(), func(t *testing.T) {
			res := explore(&larger[i], maxStates, end)
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

// mustHold walks a world whole, and makes sure that something happened in it.
func mustHold(t *testing.T, r *Rules) {
	t.Helper()
	res := Explore(r, maxStates)
	t.Log(res)
	tally.Add(t, "explorer", "states of "+r.name(), int64(res.States), leastStates[r.name()])
	switch {
	case res.Violated != "":
		t.Fatal(res.Story())
	case leastStates[r.name()] == 0:
		t.Fatal("nobody has said how many states the world has")
	case !res.Complete:
		t.Fatalf("the search was cut after %d states", res.States)
	case res.Healed < res.States:
		t.Fatalf("only %d of %d states were seen to come to rest", res.Healed, res.States)
	case res.Committed == 0 || res.RolledBack == 0 || res.Crashes == 0 || res.Transitions < res.States:
		t.Fatal("the world did nothing")
	}
}

// TestNoTombstones: a participant that does not remember the rollback of a branch
// which it never saw is found out.
func TestNoTombstones(t *testing.T) {
	r := &Rules{Kinds: remoteRemote, Crashes: 1, Attempts: 1, NoTombstones: true}
	if res := Explore(r, maxStates); res.Violated != "I9" {
		t.Fatalf("%v: violated is %q, want I9", res, res.Violated)
	}
}

// TestKeyForgetsOrder: the key relies on how the machine's key is laid out.
func TestKeyForgetsOrder(t *testing.T) {
	for _, kinds := range [][]Kind{localLocal, remoteRemote, threeLocal, threeRemote} {
		r := &Rules{Kinds: kinds, Attempts: 1}
		var keys [][]byte
		for _, aborter := range []uint8{0, uint8(len(kinds) - 1)} {
			w := newWorld()
			s := step{world: &w, r: r}
			s.make(move{what: begin})
			if w.forced != noRecord {
				s.make(move{what: logSynced})
				s.make(move{runPrepare, aborter, uint8(protocol.VoteAbort)})
				s.make(move{what: returns, branch: aborter})
			} else {
				s.make(move{takePrepare, aborter, uint8(protocol.VoteAbort)})
				s.make(move{voted, aborter, uint8(protocol.VoteAbort)})
			}
			if s.wrong != "" || w.told != protocol.RolledBack {
				t.Fatal(s.wrong, s.why)
			}
			keys = append(keys, w.key(r, nil))
		}
		if !bytes.Equal(keys[0], keys[1]) {
			t.Errorf("%v: the same story with two names has two keys:\n%x\n%x", kinds, keys[0], keys[1])
		}
	}
}

func TestMovesSurvivePacking(t *testing.T) {
	m := move{otherTraffic, maxBranches - 1, 4}
	if got := unpack(m.pack()); got != m {
		t.Fatalf("%v became %v", m, got)
	}
}

func TestSet(t *testing.T) {
	s := newSet()
	for pass := range 2 {
		for i := range 5000 {
			h := hash([]byte{byte(i), byte(i >> 8), 7})
			if had := s.mark(h, seen); (had != 0) != (pass == 1) {
				t.Fatalf("pass %d: number %d was marked %d", pass, i, had)
			}
			if s.isHealed(h) {
				t.Fatalf("number %d has a mark that nobody set", i)
			}
		}
	}
	if s.used != 5000 {
		t.Fatalf("%d sums are held, want 5000", s.used)
	}
}

// TestSentences: every move has words for a trace.
func TestSentences(t *testing.T) {
	said := []what{crash, restart, voted, takePrepare, runPrepare}
	s := step{r: &Rules{Kinds: remoteLocal}, world: &world{}}
	for w := begin; w <= otherTraffic; w++ {
		if words := s.words(move{what: w}); words == "" && !slices.Contains(said, w) || strings.Contains(words, "%") {
			t.Errorf("move %d is called %q", w, words)
		}
	}
}
