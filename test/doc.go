// Package test holds tests that need more than the library: real databases, and
// processes that are killed, stopped and cut off from each other.
package test
