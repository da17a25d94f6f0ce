package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

func txShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one transaction, branch by branch, and what to do about it",
		Args:  exactly(1),
	}
	r := remoteFlags(cmd)
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, id, err := r.about(args[0])
		if err != nil {
			return err
		}
		t, err := c.Transaction(cmd.Context(), id)
		if errors.Is(err, dtc.ErrUnknownTx) {
			return fmt.Errorf("%w\nIt was never begun, or has been forgotten: its log may still tell, dtc log explain %s --data DIR", err, shellWord(string(id)))
		}
		if err != nil {
			return unreachable(c, err)
		}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(t)
		}
		return txPrint(cmd.OutOrStdout(), t, time.Now())
	}
	return cmd
}

func txPrint(out io.Writer, t dtchttp.Transaction, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", name, plain(text))
		}
	}
	row("id", t.ID)
	row("xid", t.XID)
	row("state", txState(t))
	outcome := "not known yet"
	if t.Outcome != nil {
		outcome = *t.Outcome
	}
	row("outcome", outcome)
	if t.Reason != nil {
		by := ""
		if t.Reason.Participant != "" {
			by = " by " + t.Reason.Participant
		}
		row("because", t.Reason.Code+by+": "+t.Reason.Message)
	}
	for _, at := range []struct {
		name string
		time *dtchttp.Time
	}{{"begun", t.Started}, {"decided", t.Decided}, {"ended", t.Ended}} {
		if at.time != nil {
			row(at.name, fmt.Sprintf("%s (%s ago)", time.Time(*at.time).Local().Format(time.DateTime), txAge(at.time, now)))
		}
	}
	if len(t.Branches) > 0 {
		_, _ = fmt.Fprintln(w, "\nPARTICIPANT\tVOTE\tSTATE\tCALLS\tNEXT\tLAST ERROR")
	}
	for _, b := range t.Branches {
		vote, next := "-", "-"
		if b.Vote != nil {
			vote = *b.Vote
		}
		if b.NextAttempt != nil {
			next = "in " + txDuration(time.Time(*b.NextAttempt).Sub(now))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", b.Participant, vote, b.State, b.Attempts, next, plain(b.LastError))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, advice := range txAdvice(t) {
		if _, err := fmt.Fprintf(out, "\n%s\n", advice); err != nil {
			return err
		}
	}
	return nil
}

// txAdvice says what a person can do about a transaction.
func txAdvice(t dtchttp.Transaction) (all []string) {
	name := shellWord(txName(t))
	if t.Held {
		all = append(all, "A recovery hold covers it: the coordinator cannot know how it ends. Compare the participants with\n"+
			"the log ('dtc log stat'), and release the hold with 'dtc log release' when the server is stopped.")
	}
	for _, b := range t.Branches {
		switch {
		case b.State == "quarantined":
			all = append(all, fmt.Sprintf("%s broke its promise. Find out there how its branch ended, and say so:\n"+
				"dtc tx resolve %s %s committed|rolled_back --reason TEXT", b.Participant, name, b.Participant))
		case b.State == "heuristic_committed" || b.State == "heuristic_rolled_back":
			all = append(all, fmt.Sprintf("%s ended against the decision: put it right there by hand. The coordinator does nothing more about it.", b.Participant))
		case branchOpen(b) && (t.State == "committing" || t.State == "rolling_back" || t.State == "heuristic") && b.LastError != "":
			all = append(all, fmt.Sprintf("%s has not answered. Bring it back, and it is called within seconds; 'dtc tx retry %s' calls it now.\n"+
				"Only if it is gone for ever: dtc tx resolve %s %s committed|rolled_back --reason TEXT", b.Participant, name, name, b.Participant))
		}
	}
	if t.State == "active" {
		all = append(all, "It grows: its client has not committed it. At the end of its life it is rolled back by itself.")
	}
	return all
}
