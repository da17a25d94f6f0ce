package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
)

func txRetryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry ID",
		Short: "Call the participants that a transaction waits for now",
		Args:  exactly(1),
	}
	r := remoteFlags(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, id, err := r.about(args[0])
		if err != nil {
			return err
		}
		if err := c.Retry(cmd.Context(), id); err != nil {
			return unreachable(c, err)
		}
		return said(cmd.OutOrStdout(), *output, "retry", id, "", "its participants are called now; what they answered says\ndtc tx show "+shellWord(string(id)))
	}
	return cmd
}

func txResolveCommand() *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:   "resolve ID PARTICIPANT committed|rolled_back",
		Short: "State how a branch ended whose participant cannot say so any more",
		Long: `resolve is the last resort. The coordinator believes the statement, writes it to its
log, and never calls the participant about this branch again. If it goes against the
decision the transaction is heuristic for ever: neither committed everywhere nor rolled
back everywhere. If the participant comes back after a wrong statement, it keeps what it
holds until somebody finishes it there.

Use it when the participant is gone for ever, or has told you itself how the branch ended.
A participant that is only down needs nothing: it is called when it is back.`,
		Args: exactly(3),
	}
	r := remoteFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "why; it stands in the log and in the audit; required")
	f.BoolVar(&yes, "yes", false, "do not ask")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := txID(args[0])
		if err != nil {
			return err
		}
		outcome := dtc.OutcomeUnknown
		for _, o := range []dtc.Outcome{dtc.Committed, dtc.RolledBack} {
			if o.String() == args[2] {
				outcome = o
			}
		}
		switch {
		case outcome == dtc.OutcomeUnknown:
			return usagef("%q: a branch is resolved as committed or rolled_back", args[2])
		case reason == "":
			return usagef("say with --reason TEXT why the branch is resolved by hand")
		}
		c, err := r.client()
		if err != nil {
			return err
		}
		if !yes {
			t, err := c.Transaction(cmd.Context(), id)
			if err != nil {
				return unreachable(c, err)
			}
			decision := "is not decided"
			if t.Outcome != nil {
				decision = "was decided: " + *t.Outcome
			}
			meaning := ""
			if t.Outcome != nil && *t.Outcome != outcome.String() {
				meaning = "\nThat is not the decision: the transaction will be heuristic, for good."
			}
			question := fmt.Sprintf("%s %s.%s\nState that its branch at %s ended as %s? It is never called again. Type yes: ",
				plain(string(id)), decision, meaning, plain(args[1]), outcome)
			if err := confirmed(cmd.InOrStdin(), cmd.ErrOrStderr(), question); err != nil {
				return err
			}
		}
		if err := c.Resolve(cmd.Context(), id, args[1], outcome, reason); err != nil {
			return unreachable(c, err)
		}
		text := "the branch counts as " + outcome.String() + ", and is called no more"
		if t, err := c.Transaction(cmd.Context(), id); err == nil && t.State == "heuristic" {
			text += "; the transaction did not end alike everywhere, see 'dtc tx show " + shellWord(string(id)) + "'"
		}
		return said(cmd.OutOrStdout(), *output, "resolve", id, args[1], text)
	}
	return cmd
}

// confirmed asks a person on a terminal; elsewhere nobody is there to be asked.
func confirmed(in io.Reader, out io.Writer, question string) error {
	f, ok := in.(*os.File)
	if !ok || !demo.IsTerminal(f) {
		return usagef("nobody can be asked here: say --yes if that is what you want")
	}
	endBySignal()
	if _, err := fmt.Fprint(out, question); err != nil {
		return err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// said prints what an operator's command did.
func said(out io.Writer, format, action string, id dtc.TxID, participant, text string) error {
	if format == "json" {
		return json.NewEncoder(out).Encode(struct {
			Action      string   `json:"action"`
			ID          dtc.TxID `json:"id"`
			Participant string   `json:"participant,omitempty"`
		}{action, id, participant})
	}
	_, err := fmt.Fprintf(out, "%s: %s\n", plain(string(id)), text)
	return err
}
