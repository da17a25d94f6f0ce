//go:build linux || darwin || freebsd

package telemetry

import "syscall"

// free returns how many bytes an ordinary user may still write to the file system of
// a directory.
func free(dir string) (float64, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return float64(s.Bavail) * float64(s.Bsize), err
}
