// Package test holds tests that need more than the library: real databases, and
// processes that are killed.
package test
