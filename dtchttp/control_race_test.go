//go:build race

package dtchttp_test

// stalledClients are fewer where each of them costs ten times as much.
const stalledClients = 4000
