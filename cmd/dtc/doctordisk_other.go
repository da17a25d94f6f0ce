//go:build !linux

package main

import "errors"

func fileSystem(string) (free uint64, kind string, err error) {
	return 0, "", errors.New("not known here")
}
