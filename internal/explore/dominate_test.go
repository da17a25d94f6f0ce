package explore

import (
	"slices"
	"testing"

	"github.com/dtc-project/dtc/internal/protocol"
)

// TestAtOnceLosesNothing: for every state of a world in which nothing is done at
// once there is one, in the world where everything is, that differs in nothing but
// what makes more possible.
func TestAtOnceLosesNothing(t *testing.T) {
	for i := range plainWorlds {
		t.Run(plainWorlds[i].name(), func(t *testing.T) {
			t.Parallel()
			r := plainWorlds[i]
			const rest = interchange | oblivion | uncounted
			same := map[string][]world{}
			res := without(t, r, rest, watch[world, move]{state: func(w *world) {
				k := common(&r, w)
				same[k] = append(same[k], *w)
			}})
			n := 0
			all := without(t, r, rest|answersNow|lowWaterNow|listingNow, watch[world, move]{state: func(w *world) {
				more := func(than world) bool { return mayMore(&r, w, &than) }
				if !slices.ContainsFunc(same[common(&r, w)], more) {
					if n++; n == 1 {
						t.Errorf("no state can do what this one can: %+v", *w)
					}
				}
			}})
			t.Logf("%d states stand for %d; %d are lost", res.States, all.States, n)
		})
	}
}

// common is the key of what two worlds must have in common to be compared.
func common(r *Rules, w *world) string {
	c := *w
	for i := range r.Kinds {
		b := &c.branch[i]
		b.answers, b.sent, b.swept = 0, b.sent&^lowWaterSent, false
		if b.row != none {
			b.lowWater = false
		}
		if b.row != none || b.lowWater {
			b.undone = false
		}
		if b.sweep == sweepListed {
			b.sweep = sweepIdle
		}
	}
	all := *r
	all.Without = interchange | oblivion
	return string(c.key(&all, nil))
}

// mayMore reports whether what may happen in a is possible in b too, of two worlds
// that have the rest in common.
func mayMore(r *Rules, a, b *world) bool {
	for i := range r.Kinds {
		a, b := &a.branch[i], &b.branch[i]
		if a.answers&^b.answers != 0 || a.sent&^b.sent != 0 || a.lowWater && !b.lowWater ||
			a.undone && !b.undone || a.swept && !b.swept || a.sweep > b.sweep {
			return false
		}
	}
	return true
}

// TestPlacesDoNotMatter: who changes the places of two participants of one kind,
// and lets the same happen to each under its new name, comes to the same world
// with the places changed.
func TestPlacesDoNotMatter(t *testing.T) {
	for _, kinds := range [][]Kind{localLocal, remoteRemote, threeLocal, threeRemote} {
		r := &Rules{Kinds: kinds, Crashes: 1, Colds: 1, Attempts: 1, ReadOnly: true, Without: oblivion}
		for first := range len(kinds) - 1 {
			swapped := func(m move) move {
				switch {
				case m.what < leave || m.what == timedOut || m.what == cancelled: // of no branch
				case int(m.branch) == first:
					m.branch = uint8(first + 1)
				case int(m.branch) == first+1:
					m.branch = uint8(first)
				}
				return m
			}
			if n := swapEverywhere(t, r, first, swapped); n < 1000 {
				t.Errorf("only %d states were compared", n)
			}
		}
	}
}

// compared bounds how many pairs of worlds are.
const compared = 5_000

// swapEverywhere walks a world and its mirror image side by side.
func swapEverywhere(t *testing.T, r *Rules, first int, swapped func(move) move) int {
	t.Helper()
	plain := *r
	plain.Without |= interchange
	type pair struct{ w, mirror world }
	queue := []pair{{newWorld(), newWorld()}}
	been := map[string]bool{}
	for ; len(queue) > 0 && len(been) < compared; queue = queue[1:] {
		p := &queue[0]
		possible := p.mirror.moves(r, nil)
		for _, m := range p.w.moves(r, nil) {
			next := *p
			a, b := step{world: &next.w, r: r}, step{world: &next.mirror, r: r}
			a.make(m)
			b.make(swapped(m))
			ka := next.w.key(&plain, nil)
			kb := swapPieces(next.mirror.key(&plain, nil), len(r.Kinds), first)
			if string(ka) != string(kb) || a.wrong != b.wrong || !slices.Contains(possible, swapped(m)) {
				t.Fatalf("%v: %q and its image %q lead to different worlds", r, a.words(m), b.words(swapped(m)))
			}
			if string(next.w.key(r, nil)) != string(next.mirror.key(r, nil)) {
				t.Fatalf("%v: %q and its image %q have different keys", r, a.words(m), b.words(swapped(m)))
			}
			if !been[string(ka)] {
				been[string(ka)] = true
				queue = append(queue, next)
			}
		}
	}
	return len(been)
}

// swapPieces changes the places of two neighbours in a key that is not sorted.
func swapPieces(key []byte, n, first int) []byte {
	size := ownSize
	if key[0]&liveFlag != 0 {
		tx := protocol.New(0)
		tx.Enlist(false, false)
		size += len(tx.AppendKey(nil)) - headSize
	}
	at := len(key) - n*size + first*size
	a, b := slices.Clone(key[at:at+size]), key[at+size:at+2*size]
	copy(key[at:], b)
	copy(key[at+size:], a)
	return key
}
