package main

import "testing"

// TestLockHolder: the lines of /proc/locks that are about a log, and those that are not.
func TestLockHolder(t *testing.T) {
	const dev, ino = 0xfe00, 9977944 // fe:00
	for _, tt := range []struct {
		list, said string
		pid        int
		used       bool
	}{
		{"1: FLOCK  ADVISORY  WRITE 29011 fe:00:9977944 0 EOF\n", "29011", 29011, true},
		{"1: POSIX  ADVISORY  READ 1 fe:00:7 1 2\n2: FLOCK  ADVISORY  WRITE 29011 fe:00:9977944 0 EOF\n", "", 29011, true},
		{"1: FLOCK  ADVISORY  WRITE 29011 00:2f:9977944 0 EOF\n", "29011", 29011, true}, // an overlay
		{"1: FLOCK  ADVISORY  WRITE 29011 00:2f:9977944 0 EOF\n", "1", 0, false},        // another disk
		{"1: FLOCK  ADVISORY  WRITE 29011 fe:00:9977945 0 EOF\n", "29011", 0, false},
		{"1: POSIX  ADVISORY  WRITE 29011 fe:00:9977944 0 EOF\n", "29011", 0, false},
		{"1: FLOCK  ADVISORY  WRITE -1 fe:00:9977944 0 EOF\n", "5", 0, true}, // in another container
		{"1: -> FLOCK  ADVISORY  WRITE 5 fe:00:9977944 0 EOF\n", "5", 0, false},
		{"", "29011", 0, false},
		{"nonsense\n\n1: FLOCK\n", "", 0, false},
	} {
		if pid, used := lockHolder(tt.list, dev, ino, tt.said); pid != tt.pid || used != tt.used {
			t.Errorf("%q, %q: %d, %v; want %d, %v", tt.list, tt.said, pid, used, tt.pid, tt.used)
		}
	}
}
