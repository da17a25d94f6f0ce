package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
)

// progressTo returns a function that shows a line in place of the one before, if
// the writer is a terminal; an empty one clears it.
func progressTo(out io.Writer) func(string) {
	if !demo.IsTerminal(out) {
		return func(string) {}
	}
	return func(line string) { _, _ = fmt.Fprintf(out, "\r\033[K%s", line) }
}

// reading returns a function for [wal.Options.Progress] that shows how much of a
// log was read, if that takes longer than a second.
func reading(out io.Writer) func(read, total int64) {
	show, began := progressTo(out), time.Now()
	shown := began
	return func(read, total int64) {
		now := time.Now()
		switch {
		case read >= total:
			if shown != began {
				show("")
			}
		case now.Sub(began) > time.Second && now.Sub(shown) > time.Second/5:
			shown = now
			show(fmt.Sprintf("reading the log: %d of %d MB", read>>20, total>>20))
		}
	}
}
