package explore

import (
	"bytes"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
)

// TestWorlds walks every state of the worlds of an ordinary run.
func TestWorlds(t *testing.T) {
	for i := range worlds {
		r := &worlds[i]
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			res := Explore(r, maxStates)
			mustHold(t, r, res, leastStates[r.name()], []int{res.Committed, res.RolledBack, res.Crashes})
		})
	}
}

// TestSoak walks larger ones.
func TestSoak(t *testing.T) { soakAll(t, soakWorlds()) }

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
	s := step{r: &Rules{Kinds: remoteLocal}, world: &world{}}
	words := func(w what) string { return s.words(move{what: w}) }
	mustSpeak(t, otherTraffic, words, crash, restart, voted, takePrepare, runPrepare)
}
