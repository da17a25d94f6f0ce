package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// verifyReport is what `dtc log verify -o json` prints.
type verifyReport struct {
	Sound    bool   `json:"sound"`
	Dir      string `json:"dir"`
	Log      string `json:"log"`
	Segments int    `json:"segments"`
	Batches  int    `json:"batches"`
	Records  int    `json:"records"`
	End      uint64 `json:"end"`
	Synced   uint64 `json:"synced"`
	Tail     int64  `json:"tail"`
	Clean    bool   `json:"clean"`
	Agreed   bool   `json:"agreed"` // the second decoder says the same
	Error    string `json:"error,omitempty"`
}

func logVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the log is sound",
		Long: `verify reads every byte of the log and says whether what was durable is still
there. It reads the log twice, by two decoders that share no code, and the second
also asks whether the records can follow one another: that the log is sound is not
the word of the program alone that wrote it. Exit codes: 0 sound, 3 corrupt, or
the two do not say the same.`,
		Args: cobra.NoArgs,
	}
	data := dataFlag(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, dir, err := openLog(*data)
		if err != nil {
			return err
		}
		res, doubt := compare.Live(dir, vfs.OS{})
		report, damage := res.First, res.Refused
		switch {
		case doubt != nil:
			damage = doubt
		case damage == nil:
			damage = res.SecondRefused
		}
		if *output == "json" {
			v := verifyReport{
				Sound: damage == nil, Dir: dir, Log: r.ID().String(), Segments: report.Segments, Batches: report.Batches,
				Records: report.Records, End: report.End, Synced: report.Synced, Tail: report.Tail, Clean: report.Clean,
				Agreed: doubt == nil,
			}
			if damage != nil {
				v.Error = damage.Error()
			}
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(v); err != nil {
				return err
			}
			return damage
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), `log        %s, in %s
segments   %d
batches    %d
records    %d
end        position %d
tail       %s
closed     %s
read       %s
`, r.ID(), dir, report.Segments, report.Batches, report.Records, report.End, tail(report), closed(report), twice(doubt))
		if damage != nil {
			return advice(damage)
		}
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "sound")
		}
		return err
	}
	return cmd
}

func tail(r wal.Report) string {
	if r.Tail == 0 {
		return "none"
	}
	return fmt.Sprintf("%d bytes behind the end that nobody was told are durable: the next start cuts them", r.Tail)
}

func closed(r wal.Report) string {
	if r.Clean {
		return "cleanly"
	}
	return "no: a coordinator is using it, or was killed"
}

func twice(doubt error) string {
	if doubt != nil {
		return "twice, by two decoders that share no code: they do not agree"
	}
	return "twice, by two decoders that share no code: they agree"
}
