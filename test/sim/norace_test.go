//go:build !race

package sim_test

// seeds is how many runs there are.
const seeds = 6_000
