//go:build race

package wal_test

// slower is how much fewer crashed or damaged logs are opened under the race
// detector: they are read by one goroutine at a time.
const slower = 4
