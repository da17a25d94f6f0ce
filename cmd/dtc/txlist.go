package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/dtchttp"
)

func txListCommand() *cobra.Command {
	var state, participant string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is not finished everywhere, newest first",
		Long: `list shows the transactions that are not finished everywhere, and what each waits for.
With --state committed, rolled_back or heuristic it shows those that ended so as well, as
far as the server keeps them: a restart forgets them, but for their outcomes.`,
		Args: cobra.NoArgs,
	}
	r := remoteFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "only those in this state: active, preparing, committing, rolling_back, committed, rolled_back or heuristic")
	f.StringVar(&participant, "participant", "", "only those with an unfinished branch at this participant")
	f.IntVar(&limit, "limit", 100, "how many at most; 0 means all")
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return usagef("--limit must not be negative")
		}
		c, err := r.client()
		if err != nil {
			return err
		}
		list, more := []dtchttp.Transaction{}, false
		for t, err := range c.Transactions(cmd.Context(), dtchttp.TransactionsFilter{State: state, Participant: participant}) {
			if err != nil {
				return unreachable(c, err)
			}
			if more = limit > 0 && len(list) == limit; more {
				break
			}
			list = append(list, t)
		}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
				Transactions []dtchttp.Transaction `json:"transactions"`
				More         bool                  `json:"more"`
			}{list, more})
		}
		if len(list) == 0 && (state == "committed" || state == "rolled_back" || state == "heuristic") {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "nothing: none that is %s is kept since the server started\n", state)
			return err
		}
		return txTable(cmd.OutOrStdout(), list, more, time.Now())
	}
	return cmd
}

// txTable prints a line for each transaction and what it waits for.
func txTable(out io.Writer, list []dtchttp.Transaction, more bool, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nothing: no such transaction is unfinished")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tSTATE\tAGE\tWAITS FOR")
	for _, t := range list {
		waits := "-"
		if open := txWaits(t, now); len(open) > 0 {
			waits = strings.Join(open, "; ")
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", plain(txName(t)), txState(t), txAge(t.Started, now), plain(waits))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more {
		_, err := fmt.Fprintf(out, "and more: --limit 0 shows all\n")
		return err
	}
	return nil
}

// txName is what a transaction is called: a branch that no log knows has its XID only.
func txName(t dtchttp.Transaction) string {
	if t.ID == "" {
		return t.XID
	}
	return t.ID
}

// plain makes a text that others wrote fit for one cell of a table on a terminal.
func plain(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
}

// shellWord quotes a word of a command that people are told to run. A transaction's id
// is its client's choice, and may hold anything that a shell acts on.
func shellWord(s string) string {
	safe := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._:/@%+=,-", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func txState(t dtchttp.Transaction) string {
	if t.Held {
		return t.State + " (held)"
	}
	return t.State
}

// txWaits says what a transaction waits for, one phrase for each branch.
func txWaits(t dtchttp.Transaction, now time.Time) (all []string) {
	for _, b := range t.Branches {
		if !branchOpen(b) {
			continue
		}
		text := b.Participant
		if b.State == "quarantined" {
			text += " quarantined"
		}
		if b.Attempts > 0 {
			text += fmt.Sprintf(", %d calls", b.Attempts)
		}
		if b.NextAttempt != nil {
			if d := time.Time(*b.NextAttempt).Sub(now); d > 0 {
				text += ", again in " + txDuration(d)
			}
		}
		if b.LastError != "" {
			text += ": " + b.LastError
		}
		all = append(all, text)
	}
	return all
}

// branchOpen reports whether something is still to be done about a branch.
func branchOpen(b dtchttp.TxBranch) bool {
	switch b.State {
	case "committed", "rolled_back", "read_only", "aborted", "heuristic_committed", "heuristic_rolled_back":
		return false
	}
	return true
}

func txAge(t *dtchttp.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	return txDuration(now.Sub(time.Time(*t)))
}

// txDuration is a duration for people.
func txDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
