package sim_test

import (
	"strings"
	"testing"

	"github.com/dtc-project/dtc/internal/sim"
)

// What once found something finds nothing any more.
func TestCorpus(t *testing.T) {
	defer sim.Still()()
	all, err := sim.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("the corpus is empty")
	}
	for _, s := range all {
		if f := sim.Shrink(t, s.Seed, s.Without, nil); f != nil {
			t.Errorf("%s, once %s: %v", s.Name, s.Was, f)
		}
	}
}

// A run is made simpler as long as the same thing is wrong, and no further. What is
// wrong is made up here: partitions together with kills.
func TestShrink(t *testing.T) {
	defer sim.Still()()
	needed := sim.Partitions | sim.Kills
	judge := func(r *sim.Result) (string, string) {
		switch {
		case r.Faults&needed == needed:
			return "made up", "partitions and kills"
		case r.Faults&sim.Partitions != 0:
			return "another", "partitions alone"
		}
		return "", ""
	}
	found := 0
	for seed := uint64(1); seed < 200 && found < 3; seed++ {
		if sim.Plan(seed)&needed != needed {
			continue
		}
		found++
		f := sim.Shrink(t, seed, 0, judge)
		if f == nil {
			t.Fatalf("seed %d: nothing was found", seed)
		}
		if f.Needed != "kills,partitions" || f.Violated != "made up" || f.Why != "partitions and kills" {
			t.Errorf("seed %d: %s by %s", seed, f.Violated, f.Needed)
		}
		without, err := sim.ParseFaults(f.Without)
		if err != nil || sim.Plan(seed)&^without != needed {
			t.Errorf("seed %d: without %s (%v) it is %v", seed, f.Without, err, (sim.Plan(seed) &^ without).Names())
		}
		r := sim.Run(t, seed, sim.Options{Without: without, Trace: true})
		if strings.Join(r.Trace, "\n") != strings.Join(f.Trace, "\n") {
			t.Errorf("seed %d: %s does not give the same run", seed, f.Replay())
		}
		if !strings.Contains(f.String(), f.Replay()) || !strings.Contains(f.Replay(), "DTC_WITHOUT="+f.Without) {
			t.Errorf("how to have it again is not told:\n%.300s", f)
		}
	}
	if found == 0 {
		t.Fatal("no seed has both")
	}
	if f := sim.Shrink(t, 1, 0, func(*sim.Result) (string, string) { return "", "" }); f != nil && f.Violated == "" {
		t.Errorf("a failure without a violation: %v", f)
	}
}

func TestParseFaults(t *testing.T) {
	for _, f := range []sim.Faults{0, sim.Kills, sim.Kills | sim.Operators, sim.All} {
		if got, err := sim.ParseFaults(strings.Join(f.Names(), ",")); err != nil || got != f {
			t.Errorf("%v: %v, %v", f.Names(), got.Names(), err)
		}
	}
	if _, err := sim.ParseFaults("kills,rain"); err == nil {
		t.Error("a class that there is none of was taken")
	}
}
