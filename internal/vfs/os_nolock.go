//go:build !unix || solaris || aix

package vfs

import (
	"errors"
	"fmt"
)

// syncDir does nothing: these systems cannot sync a directory by opening it.
func syncDir(string) error { return nil }

func lockFile(path string) (Lock, error) {
	return nil, fmt.Errorf("lock %s: %w on this operating system", path, errors.ErrUnsupported)
}
