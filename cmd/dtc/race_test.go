//go:build race

package main

// The binary is built like the test.
func init() { buildFlags = append(buildFlags, "-race") }
