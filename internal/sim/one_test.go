package sim

import (
	"slices"
	"testing"

	"github.com/dtc-project/dtc/internal/tally"
)

// A participant that breaks a promise of one phase is found out.
func TestOnePhaseSins(t *testing.T) {
	defer Still()()
	for _, c := range []struct {
		name  string
		sin   sin
		most  uint64 // seeds
		named []string
	}{
		{"no fence", noFence, sinSeeds, []string{"I4", "I8"}},
		{"seal forgets", sealForgets, sinSeeds, []string{"I1", "I4", "I7", "I8"}},
		{"evidence by XID", evidenceByXID, sinSeeds, []string{"I4", "I7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(1); seed <= c.most; seed++ {
				if Plan(seed)&OnePhases == 0 {
					continue
				}
				r := Run(t, seed, Options{sin: c.sin})
				if r.Violated == "" {
					continue
				}
				if !slices.Contains(c.named, r.Violated) {
					t.Errorf("seed %d finds something else: %s: %s", seed, r.Violated, r.Why)
				}
				t.Logf("found by seed %d: %s: %s", seed, r.Violated, r.Why)
				tally.Add(t, "simulator", "seeds until a participant with "+c.name+" is found", int64(seed), 1)
				return
			}
			t.Errorf("not found by %d seeds", c.most)
		})
	}
}

// sinSeeds is how many seeds a broken promise may live through.
const sinSeeds = 6000
