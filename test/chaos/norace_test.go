//go:build !race

package chaos_test

// inDoubt is how many transactions wait for a dead participant. The race detector makes
// each several times as dear, so there it is less.
const inDoubt = 50_000
