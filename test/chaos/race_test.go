//go:build race

package chaos_test

// The server is built like the test.
func init() { buildFlags = append(buildFlags, "-race") }

// inDoubt is how many transactions wait for a dead participant; see norace_test.go.
const inDoubt = 2_000
