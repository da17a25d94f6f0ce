package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// holdReport is what `dtc log hold -o json` and `release -o json` print.
type holdReport struct {
	Dir     string `json:"dir"`
	Held    bool   `json:"held"`
	Through uint32 `json:"through"`
	Reason  string `json:"reason"`
}

const holdLong = `While a log is held, nothing of its incarnations so far is presumed: transactions
that are found undecided, and branches that no log knows, are left as they are and
shown. New transactions run, and decisions that stand in the log are finished.

The coordinator must not be running: these two commands write to the log.`

func logHoldCommand() *cobra.Command {
	return holdCommand("hold", "Begin a recovery hold: nothing of the past is presumed aborted",
		`hold is for a log that was restored together with the volume that it is on: then the
log cannot notice it by itself, and decisions that were made since may be missing.
`+holdLong, true)
}

func logReleaseCommand() *cobra.Command {
	return holdCommand("release", "End a recovery hold",
		`release ends a recovery hold, after every participant was compared with the log:
what the log does not say is then presumed aborted, as usual.
`+holdLong, false)
}

func holdCommand(use, short, long string, hold bool) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs}
	data := dataFlag(cmd)
	reason := cmd.Flags().String("reason", "", "why, for those who read the log later; required")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *reason == "" || len(*reason) > 1024 {
			return usagef("say with --reason TEXT why, in at most 1,024 bytes")
		}
		r, dir, err := openLog(*data) // says what is wrong with the directory, and makes none
		if err != nil {
			return err
		}
		if !hold { // a look first: what has nothing to release is not written to
			s, err := count(r, dir)
			if err != nil {
				return advice(err)
			}
			if !s.Held && !s.Copied { // a copy is held from the next opening on
				return errNotHeld
			}
		}
		report := holdReport{Dir: dir, Held: hold, Reason: *reason}
		if report.Through, err = setHold(dir, *reason, hold); err != nil {
			return advice(err)
		}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(report)
		}
		text := "held: nothing of the incarnations up to %d is presumed until 'dtc log release'\n"
		if !hold {
			text = "released: what the log does not say of the incarnations up to %d is presumed aborted from the next start on\n"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), text, report.Through)
		return err
	}
	return cmd
}

var errNotHeld = errors.New("this log is not held: there is nothing to release")

// setHold writes the record, and returns the incarnations that it is about.
func setHold(dir, reason string, hold bool) (through uint32, err error) {
	log, err := wal.Open(dir, &wal.Options{CheckpointAfter: -1, Progress: reading(os.Stderr)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	newest, held := uint32(0), false
	err = log.Replay(func(e txlog.Entry) error {
		switch r := e.Record.(type) {
		case *txlog.Incarnation:
			newest = r.Incarnation.Number
		case *txlog.Hold:
			held, through = true, max(through, r.Through)
		case *txlog.Release:
			held = false
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case hold:
		through = max(through, newest)
		return through, log.Force(&txlog.Hold{Through: through, Reason: reason})
	case !held:
		return 0, errNotHeld
	}
	return through, log.Force(&txlog.Release{Reason: reason})
}
