//go:build !race

package wal_test

// slower thins out what is slow under the race detector; see race_test.go.
const slower = 1
