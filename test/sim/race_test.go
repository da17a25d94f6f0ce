//go:build race

package sim_test

// seeds is how many runs there are: each takes some ten times as long here, and what the
// detector looks for, the first few hundred have met.
const seeds = 200
