package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/internal/measure"
)

// benchRow is a row of `dtc bench -o json`.
type benchRow struct {
	Callers     int     `json:"callers"`
	TxPerS      float64 `json:"tx_per_s"`
	BarePerS    float64 `json:"bare_per_s"`
	Ratio       float64 `json:"ratio"`
	FsyncsPerTx float64 `json:"fsyncs_per_tx"`
	P50us       float64 `json:"p50_us"`
	P99us       float64 `json:"p99_us"`
}

func benchCommand() *cobra.Command {
	var data string
	var callers []int
	var rounds int
	var slice time.Duration
	var plain bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure transactions per second beside what the disk can do at best",
		Long: `bench runs whole transactions over two participants that do nothing, and in the same
run, in turn, the limit: a bare group commit of one 100-byte record for each
transaction, with the same kind of file and the same sync. What counts is the
ratio; the absolute numbers belong to this machine at this hour. Each number is
the median of the rounds.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", ".", "measure the disk that this directory `DIR` is on; the files are removed again")
	f.IntSliceVar(&callers, "callers", []int{1, 16, 128, 400}, "how many callers at a time")
	f.IntVar(&rounds, "rounds", 5, "how often each is measured")
	f.DurationVar(&slice, "slice", 300*time.Millisecond, "how long one measurement lasts")
	f.BoolVar(&plain, "plain", false, "with participants that cannot list what they hold in doubt: two syncs each")
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if rounds < 1 || slice <= 0 || len(callers) == 0 {
			return usagef("--rounds, --slice and --callers must be positive")
		}
		for _, n := range callers {
			if n < 1 || n > 10_000 {
				return usagef("--callers %d: between 1 and 10,000 callers can be measured", n)
			}
		}
		var rows []benchRow
		show := progressTo(cmd.ErrOrStderr())
		for i, n := range callers {
			show(fmt.Sprintf("%d of %d: %d callers, about %v", i+1, len(callers), n, slice*time.Duration(3*rounds+3)))
			row, err := benchOne(cmd.Context(), data, measure.Setup{Callers: n, Rounds: rounds, Slice: slice, Plain: plain})
			if err != nil {
				show("")
				return err
			}
			rows = append(rows, row)
		}
		show("")
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"rows": rows})
		}
		return benchTable(cmd.OutOrStdout(), rows)
	}
	return cmd
}

// benchOne measures one row in a directory of its own.
func benchOne(ctx context.Context, data string, s measure.Setup) (row benchRow, err error) {
	if s.Dir, err = os.MkdirTemp(data, "dtc-bench-"); err != nil {
		return row, fmt.Errorf("bench needs a directory in which it can make files, see --data: %w", err)
	}
	defer func() {
		if gone := os.RemoveAll(s.Dir); err == nil {
			err = gone
		}
	}()
	s.Stop = ctx.Done()
	m, err := measure.Compare(s)
	if errors.Is(err, measure.ErrStopped) {
		return row, errors.New("bench: interrupted")
	}
	return benchRow{
		Callers: m.Callers, TxPerS: m.TxPerS, BarePerS: m.BarePerS, Ratio: m.Ratio, FsyncsPerTx: m.FsyncsPerTx,
		P50us: float64(m.P50.Nanoseconds()) / 1e3, P99us: float64(m.P99.Nanoseconds()) / 1e3,
	}, err
}

func benchTable(out io.Writer, rows []benchRow) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "callers\ttx/s\tbare/s\tratio\tfsyncs/tx\tp50 µs\tp99 µs\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.2f\t%.4f\t%.0f\t%.0f\t\n",
			r.Callers, r.TxPerS, r.BarePerS, r.Ratio, r.FsyncsPerTx, r.P50us, r.P99us)
	}
	return w.Flush()
}
