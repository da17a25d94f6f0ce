//go:build race

package simdb_test

// ordinary is how many seeds an ordinary run has; the race detector is slow, and one
// call moves at a time anyway.
const ordinary = 200
