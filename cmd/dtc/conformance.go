package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/internal/conformance"
)

func conformanceCommand() *cobra.Command {
	var o conformance.Options
	var payload, abort, readOnly, restart, observe string
	var caller credentials
	cmd := &cobra.Command{
		Use:   "conformance URL",
		Short: "Tell whether a service is a participant that transactions can rely on",
		Long: `conformance calls the participant at the base URL as a coordinator would on a bad
day: twice, late, in the wrong order, at the same time, and, with --restart, after
a kill. It prints a line for each case, and then for each that failed what was
sent, what came back, what the contract wants, and what comes of it. What it could
not try it says.

It uses transactions of logs that no coordinator has, and rolls back what it left
prepared, but what it commits stays: run it against an instance that is there for
tests, with a payload that can be done some hundred times.

  dtc conformance http://127.0.0.1:8001/dtc --participant stock \
      --payload '{"item":"book","amount":1}' --abort-payload '{"item":"book","amount":1000000}' \
      --observe 'curl -s http://127.0.0.1:8001/stock' --restart './kill-and-start.sh'

The cases:

` + conformanceCases() + `
Exit code 0 says that nothing failed, 1 that something did.`,
		Args: exactly(1),
	}
	f := cmd.Flags()
	f.StringVar(&o.Participant, "participant", "conformance", "the `ID` under which coordinators know the participant")
	f.StringVar(&payload, "payload", "null", "a `JSON` payload that it votes vote_commit for, again and again")
	f.StringVar(&abort, "abort-payload", "", "a `JSON` payload that it votes vote_abort for")
	f.StringVar(&readOnly, "read-only-payload", "", "a `JSON` payload that it votes read_only for")
	f.StringVar(&restart, "restart", "", "a shell `COMMAND` that kills the participant (SIGKILL) and starts it again in the background")
	f.StringVar(&observe, "observe", "", "a shell `COMMAND` that prints the effects, a balance say, and nothing that changes by itself")
	f.DurationVar(&o.Timeout, "timeout", 10*time.Second, "how long a call may take, and the participant to come back after a restart")
	f.StringSliceVar(&o.Only, "case", nil, "run this case only (`NAME`; may be repeated)")
	caller.flags(cmd)
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.URL = args[0]
		for _, p := range []struct {
			flag, text string
			to         *json.RawMessage
		}{{"payload", payload, &o.Payload}, {"abort-payload", abort, &o.AbortPayload}, {"read-only-payload", readOnly, &o.ReadOnlyPayload}} {
			if p.text == "" {
				continue
			}
			if !json.Valid([]byte(p.text)) {
				return usagef("--%s: %q is no JSON; a text needs its quotes, like '\"text\"'", p.flag, p.text)
			}
			*p.to = json.RawMessage(p.text)
		}
		if o.Timeout <= 0 {
			return usagef("--timeout must be positive")
		}
		if restart != "" {
			o.Restart = func(ctx context.Context) error { return shellStart(ctx, restart) }
		}
		if observe != "" {
			o.Observe = func(ctx context.Context) (string, error) { return shellOutput(ctx, observe) }
		}
		var err error
		if o.Authorize, o.Transport, err = conformanceCalls(&caller); err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *output == "table" {
			o.Each = func(r conformance.Result) { conformanceLine(out, r) }
		}
		report, err := conformance.Run(cmd.Context(), o)
		switch {
		case cmd.Context().Err() != nil:
			return fmt.Errorf("interrupted after %d cases; what was prepared has been rolled back", len(report.Cases))
		case err != nil:
			return usageError{err}
		case *output == "json":
			if err := json.NewEncoder(out).Encode(report); err != nil {
				return err
			}
		default:
			conformanceDetails(out, report)
		}
		if report.Failed > 0 {
			return fmt.Errorf("%s is no participant to rely on: %d of %d cases failed", o.URL, report.Failed, len(report.Cases))
		}
		return nil
	}
	return cmd
}

func conformanceCases() string {
	var b strings.Builder
	for _, n := range conformance.Names() {
		_, _ = fmt.Fprintf(&b, "  %-24s %s\n", n[0], n[1])
	}
	return b.String()
}

var verdictWords = map[conformance.Verdict]string{
	conformance.OK: "ok", conformance.Failed: "FAIL", conformance.NotTried: "not tried",
}

func conformanceLine(out io.Writer, r conformance.Result) {
	line := fmt.Sprintf("%-10s %-24s %s", verdictWords[r.Verdict], r.Case, r.Title)
	if r.Verdict == conformance.NotTried {
		line = fmt.Sprintf("%-10s %-24s %s", verdictWords[r.Verdict], r.Case, strings.Join(r.NotTried, "; "))
	}
	_, _ = fmt.Fprintln(out, line)
}

// conformanceDetails says what is wrong and what was not looked at, each thing once.
func conformanceDetails(out io.Writer, report conformance.Report) {
	said := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
	for _, r := range report.Cases {
		for i, f := range r.Findings {
			if i == 0 {
				said("\nFAIL %s: %s\n", r.Case, r.Title)
			} else {
				said("\n")
			}
			said("  sent   %s\n  got    %s\n  want   %s\n  why    %s\n", f.Sent, f.Got, f.Want, f.Why)
		}
	}
	partly := map[string]int{}
	var order []string
	for _, r := range report.Cases {
		for _, text := range r.NotTried {
			if r.Verdict == conformance.NotTried {
				continue // its line says so
			}
			if partly[text]++; partly[text] == 1 {
				order = append(order, text)
			}
		}
	}
	for i, text := range order {
		if i == 0 {
			said("\n")
		}
		said("not tried, in %d of the cases: %s\n", partly[text], text)
	}
	kind := "plain, it serves no in-doubt"
	if report.Listing {
		kind = "listing"
	}
	said("\nparticipant %s (%s): %d ok, %d failed, %d not tried\n", report.Participant, kind, report.OK, report.Failed, report.NotTried)
}
