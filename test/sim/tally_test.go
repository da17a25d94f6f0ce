package sim_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
	"github.com/dtc-project/dtc/internal/tally"
)

// What is counted beside the fields of [sim.Counts].
const (
	runs         = "runs"
	idsExplained = "ids whose history was explained"
	runsWith     = "runs with "
)

// add adds a run's counts, by their names.
func add(sum map[string]int64, r *sim.Result) {
	c := reflect.ValueOf(r.Counts)
	for i := range c.NumField() {
		sum[words(c.Type().Field(i).Name)] += c.Field(i).Int()
	}
	for _, class := range r.Faults.Names() {
		sum[runsWith+class]++
	}
	sum[runs]++
}

// words turns the name of a field into words.
func words(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String())
}

// least is how much of everything there must be in a thousand runs; what is not named
// must have happened at all. The numbers are far below the usual ones.
var least = map[string]int64{
	"transactions": 3000, "committed": 3000, "rolled back": 2500, idsExplained: 3000, "told under fault": 200,
	"crashes": 300, "power losses": 150, "recovery killed": 100, "torn tails": 10, "participant crashes": 150,
	"lost": 1500, "repeated": 1000, "late": 1500, "partitions": 150, "appends": 5000, "syncs": 2000,
	"events": 200_000, "virtual": int64(5000 * time.Second),
}

// wantEnough: a green run that did nothing is a failure.
func wantEnough(t *testing.T, sum map[string]int64, took time.Duration) {
	n := sum[runs]
	all := map[string]int64{}
	add(all, &sim.Result{Faults: sim.All}) // so that what never happened is named
	for what := range sum {
		all[what] = 0
	}
	for _, what := range slices.Sorted(maps.Keys(all)) {
		of := least[what] * n / 1000
		if n >= 1000 {
			of = max(1, of)
		}
		if what == "virtual" {
			tally.Add(t, "simulator", "virtual seconds", sum[what]/int64(time.Second), of/int64(time.Second))
			continue
		}
		tally.Add(t, "simulator", what, sum[what], of)
	}
	seconds := took.Seconds()
	t.Logf("in %v: %.0f runs, %.0f transactions and %.0f virtual seconds a second", took.Round(time.Millisecond),
		float64(n)/seconds, float64(sum["transactions"])/seconds, time.Duration(sum["virtual"]).Seconds()/seconds)
}
