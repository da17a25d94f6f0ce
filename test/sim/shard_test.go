package sim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/test/internal/histories"
)

// A run is a single thread, and what it replaces belongs to the whole process. So the
// seeds are shared among as many processes as there are processors.

// shardEnv makes a test process one of them. It holds a [shard].
const shardEnv = "DTC_SIM_SHARD"

// shard is what one process runs: every Step-th seed.
type shard struct {
	From, Step, N uint64 // N is 0 in a soak
	Until         time.Time
}

// said is one line of a shard's output, after [mark]. Seed alone means that it begins.
type said struct {
	Seed    uint64
	Tally   map[string]int64 // what was done since the last one
	Failure *sim.Failure
	Picture string // of the history, if that is what is wrong
}

const mark = "\x1eshard "

func (s said) say() {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	fmt.Printf("\n%s%s\n", mark, text)
}

// runShard runs seeds and says what became of them.
func runShard(t *testing.T) {
	var s shard
	if err := json.Unmarshal([]byte(os.Getenv(shardEnv)), &s); err != nil {
		t.Fatal(err)
	}
	defer sim.Still()()
	sum, last := map[string]int64{}, time.Now()
	for i := uint64(0); i < s.N || s.N == 0 && time.Now().Before(s.Until); i++ {
		seed := s.From + i*s.Step
		said{Seed: seed}.say()
		if f := runSeed(t, seed, sum); f != nil {
			f.say()
		}
		if time.Since(last) > time.Second {
			said{Tally: sum}.say()
			clear(sum)
			last = time.Now()
		}
	}
	said{Tally: sum}.say()
}

// runSeed runs one seed and adds what was done. What fails is run again until it is as
// simple as can be.
func runSeed(t *testing.T, seed uint64, sum map[string]int64) *said {
	r := sim.Run(t, seed, sim.Options{})
	add(sum, r)
	ids, err := histories.Check(r.History, params(r))
	sum[idsExplained] += int64(ids)
	if r.Violated == "" && err == nil {
		return nil
	}
	f := sim.Shrink(t, seed, 0, judge)
	if f == nil {
		f = &sim.Failure{Seed: seed, Violated: "determinism", Why: fmt.Sprintf("it did not fail again: %s: %s, %v", r.Violated, r.Why, err)}
	}
	s := &said{Failure: f}
	if f.Violated == "history" {
		without, _ := sim.ParseFaults(f.Without)
		again := sim.Run(t, seed, sim.Options{Without: without})
		_, err := histories.Check(again.History, params(again))
		s.Picture = histories.Draw(err)
	}
	return s
}
