//go:build !linux || !(amd64 || arm64)

package vfs

import "os"

// identify knows nothing: a copy is then not told from the file.
func identify(*os.File) (Identity, error) { return Identity{}, nil }
