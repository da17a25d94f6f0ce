//go:build !linux

package main

import (
	"errors"
	"io/fs"
)

func fileSystem(string) (free uint64, kind string, err error) {
	return 0, "", errors.New("not known here")
}

func ownerOf(fs.FileInfo) (uid uint32, ok bool) { return 0, false }

func logHolder(string) (pid int, used bool) { return 0, false }
