//go:build !linux

package vfs

import "os"

func datasync(f *os.File) error { return f.Sync() }

func allocate(*os.File, int64) (bool, error) { return false, nil }
