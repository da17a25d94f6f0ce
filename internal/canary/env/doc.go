//go:build !canary

// Package env is empty without the tag "canary".
package env
