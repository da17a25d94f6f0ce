package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
	"github.com/dtc-project/dtc/wal"
)

func logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Read a decision log: check it, list it, explain a transaction, hold it",
		Long: `The log commands read the files of a decision log and change nothing, but for hold
and release. A coordinator may be using the log meanwhile.`,
	}
	group(cmd)
	cmd.AddCommand(logVerifyCommand(), logDumpCommand(), logExplainCommand(), logStatCommand(), logHoldCommand(), logReleaseCommand())
	return cmd
}

// dataFlag adds --data, which the log commands need.
func dataFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("data", "", "the coordinator's data directory `DIR`, or the log in it; required")
}

// openLog reads the log in a data directory: in the directory itself, or in
// "log" below it.
func openLog(dir string) (*wal.Reader, string, error) {
	endBySignal()
	if dir == "" {
		return nil, "", usagef("say with --data DIR which log: the directory that the coordinator was given")
	}
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%s does not exist: --data names the directory that the coordinator was given", dir)
	} else if err != nil {
		return nil, "", err
	} else if !info.IsDir() {
		return nil, "", fmt.Errorf("%s is not a directory: --data names the directory that the coordinator was given, not a file in it", dir)
	}
	var none *wal.NoLogError
	for _, place := range []string{dir, filepath.Join(dir, demo.LogDir)} {
		r, err := wal.OpenReadOnly(place, &wal.Options{Progress: reading(os.Stderr)})
		if err == nil {
			return r, place, nil
		}
		if !errors.As(err, &none) {
			return nil, place, err
		}
	}
	return nil, "", fmt.Errorf("there is no decision log in %s, nor in %s: --data names the directory that the coordinator was given",
		dir, filepath.Join(dir, demo.LogDir))
}

// steady calls look with a reader of the log in a directory, and again for as long as a
// coordinator that uses the log takes away what is being read. What look makes of a
// reader is not to outlive an error.
func steady(r *wal.Reader, place string, look func(*wal.Reader) error) error {
	for again := 0; ; again++ {
		err := look(r)
		var changed *wal.ChangedError
		if !errors.As(err, &changed) || again == 20 { // checkpoints are far apart
			return err
		}
		if r, err = wal.OpenReadOnly(place, nil); err != nil {
			return err
		}
	}
}

// advice adds to an error of a log what to do about it.
func advice(err error) error {
	var corrupt *wal.CorruptError
	if !errors.As(err, &corrupt) {
		return err
	}
	return fmt.Errorf(`%w
Something that was durable is damaged, so a decision may be missing. What to do:
  1. Leave the files as they are, and make a copy of them.
  2. Restore the log's directory from a copy or a backup that is not older than
     the last transaction, and check it with 'dtc log verify'.
  3. If there is none: 'dtc log dump' shows what is good before the damage. Compare
     it with what the participants hold prepared before anything is decided.
Cutting the log or starting with an empty one can lose decisions`, err)
}
