package sim_test

import (
	"testing"

	"github.com/dtc-project/dtc/internal/sim"
)

// FuzzSeed lets the fuzzer choose the seed, and which faults not to have. It steers by
// what code a run reaches.
func FuzzSeed(f *testing.F) {
	all, err := sim.Corpus()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range all {
		f.Add(s.Seed, uint32(s.Without))
	}
	f.Add(uint64(1), uint32(0))
	f.Add(uint64(2), uint32(sim.All))
	f.Fuzz(func(t *testing.T, seed uint64, without uint32) {
		if r := sim.Run(t, seed, sim.Options{Without: sim.Faults(without)}); r.Violated != "" {
			t.Error(sim.Shrink(t, seed, sim.Faults(without), nil))
		}
	})
}
