//go:build !canary

// Package canary plants known bugs, to prove that the tests would find them.
// Ordinary builds compile every one of them away; a build with the tag "canary"
// can switch one on at a time.
package canary

// On reports whether a planted bug is active: never, in this build.
func On(Bug) bool { return false }
