//go:build !race

package simdb_test

// ordinary is how many seeds an ordinary run has; see race_test.go.
const ordinary = 2000
