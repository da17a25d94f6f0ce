//go:build !race

package dtchttp_test

// stalledClients is how many clients stall at a time; see control_race_test.go.
const stalledClients = 10_000
