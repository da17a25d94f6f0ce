// Package sim_test runs many seeds of the simulator, and checks what its clients heard
// against the model in test/internal/histories.
package sim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/test/internal/histories"
)

// How many seeds there are is said by the environment; see [TestSeeds].
const (
	seedEnv    = "DTC_SEED"
	withoutEnv = "DTC_WITHOUT"
	fromEnv    = "DTC_SEED_FROM"
	manyEnv    = "DTC_SEEDS"
	soakEnv    = "DTC_SOAK_HOURS"
)

// The shipping coordinator, log, guard and recovery keep every promise in every run of
// the simulator, and what clients hear has an explanation.
//
// DTC_SEEDS is how many seeds (default 10,000), DTC_SEED_FROM is the first (default 1).
// DTC_SOAK_HOURS goes on for that long instead, from a seed that nobody has had. A seed
// that fails stops nothing: all are told at the end, each with the command that has it
// again. That is DTC_SEED, a single seed with its trace, and DTC_WITHOUT, classes of
// faults that it does not need.
func TestSeeds(t *testing.T) {
	switch {
	case os.Getenv(shardEnv) != "":
		runShard(t)
	case os.Getenv(seedEnv) != "":
		replay(t)
	default:
		runAll(t)
	}
}

// What once found something is run for ever.
func TestCorpus(t *testing.T) {
	defer sim.Still()()
	all, err := sim.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if f := sim.Shrink(t, s.Seed, s.Without, judge); f != nil {
			t.Errorf("%s, once %s: %v", s.Name, s.Was, f)
		}
	}
}

// judge looks for an explanation of what clients heard.
func judge(r *sim.Result) (violated, why string) {
	if _, err := histories.Check(r.History, params(r)); err != nil {
		return "history", err.Error()
	}
	return "", ""
}

func params(r *sim.Result) histories.Params {
	return histories.Params{Retention: r.OutcomeRetention, Limit: r.OutcomeLimit}
}

// replay has one run again, and prints it.
func replay(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv(seedEnv), 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", seedEnv, err)
	}
	without, err := sim.ParseFaults(os.Getenv(withoutEnv))
	if err != nil {
		t.Fatalf("%s: %v", withoutEnv, err)
	}
	r := sim.Run(t, seed, sim.Options{Without: without, Trace: true})
	t.Logf("seed %d with %v\n%s\n%+v", seed, r.Faults.Names(), strings.Join(r.Trace, "\n"), r.Counts)
	if r.Violated != "" {
		t.Errorf("%s: %s", r.Violated, r.Why)
	}
	if _, err := histories.Check(r.History, params(r)); err != nil {
		t.Errorf("%v%s", err, histories.Draw(err))
	}
}

// order says which seeds to run.
type order struct {
	From, N uint64 // N is 0 in a soak
	Until   time.Time
}

func ordered(t *testing.T) order {
	o := order{From: number(t, fromEnv, 1), N: number(t, manyEnv, seeds)}
	if testing.Short() && os.Getenv(manyEnv) == "" {
		o.N = min(o.N, 1000)
	}
	if s := os.Getenv(soakEnv); s != "" {
		hours, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatalf("%s: %v", soakEnv, err)
		}
		o.From, o.N = number(t, fromEnv, uint64(rand.Uint32())<<24), 0
		o.Until = time.Now().Add(time.Duration(hours * float64(time.Hour)))
	}
	return o
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func (o order) String() string {
	if o.N == 0 {
		return fmt.Sprintf("seeds from %d until %v", o.From, o.Until.Format(time.DateTime))
	}
	return fmt.Sprintf("seeds %d to %d", o.From, o.From+o.N-1)
}
