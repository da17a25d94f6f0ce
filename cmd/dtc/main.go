// Command dtc is the transaction coordinator's binary.
package main

//go:generate go test -count=1 -run ^TestReferenceIsCurrent$ . -args -write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/internal/logcheck"
	"github.com/dtc-project/dtc/internal/logcheck/compare"
	"github.com/dtc-project/dtc/wal"
)

// Exit codes, which scripts rely on.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitCorrupt = 3
	exitInUse   = 4
)

// exitCodes says what they mean, for the help and the reference.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitDone, "done"},
	{exitFailed, "failed"},
	{exitUsage, "usage"},
	{exitCorrupt, "log corrupt"},
	{exitInUse, "data directory in use"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// endBySignal lets a signal end the process from now on, as it does a program that knows
// nothing of signals. Who reads a file, or waits for a person or for room in a pipe, does
// not see that a context has ended.
func endBySignal() { signal.Reset(os.Interrupt, syscall.SIGTERM) }

// usageError says that the command line is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, complaints io.Writer) int {
	root, started := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(complaints)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	if !*started {
		code = exitUsage // cobra refused the command line
	}
	_, _ = fmt.Fprintf(complaints, "dtc: %v\n", err)
	if code == exitUsage {
		_, _ = fmt.Fprintf(complaints, "Run '%s --help' for what is possible.\n", cmd.CommandPath())
	}
	return code
}

func exitCode(err error) int {
	var (
		usage   usageError
		corrupt *wal.CorruptError
		inUse   *wal.InUseError
		doubt   *compare.Disagreement
		wrong   *logcheck.Contradiction
	)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &corrupt), errors.As(err, &doubt), errors.As(err, &wrong):
		return exitCorrupt
	case errors.As(err, &inUse):
		return exitInUse
	}
	return exitFailed
}

// newRoot returns the command, and whether a command has been started: an error
// before that is about the command line.
func newRoot() (root *cobra.Command, started *bool) {
	started = new(bool)
	var codes []string
	for _, c := range exitCodes {
		codes = append(codes, fmt.Sprintf("%d %s", c.code, c.meaning))
	}
	root = &cobra.Command{
		Use:   "dtc",
		Short: "Distributed transactions: several services commit, or none of them",
		Long: `dtc coordinates transactions over several services and databases by two-phase
commit with a durable decision log. 'dtc demo' shows it at work.

Exit codes: ` + strings.Join(codes, ", ") + ".",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	// A group of commands is not a command by itself, whatever group makes of it.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	group(root)
	root.AddCommand(
		demoCommand(),
		demoChildCommand(),
		demoServiceCommand(),
		demoServeCommand(),
		logCommand(),
		conformanceCommand(),
		txCommand(),
		doctorCommand(),
		benchCommand(),
		serveCommand(),
		configCommand(),
		versionCommand(),
	)
	return root, started
}

// group makes a command that is nothing without a verb: alone it shows its help,
// as a mistake.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		if err := cmd.Help(); err != nil {
			return err
		}
		return usagef("%s needs a command", cmd.CommandPath())
	}
}

// exactly takes n arguments, and says otherwise which: those of the command's Use.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usagef("%d arguments: write %s", len(args), strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
}

// outputFlag adds -o, which takes one of the formats; the first is the default.
func outputFlag(cmd *cobra.Command, formats ...string) *string {
	value := formats[0]
	cmd.Flags().VarP(&choice{&value, formats}, "output", "o", "what to print")
	return &value
}

// choice is a flag that takes one of a few words.
type choice struct {
	value *string
	words []string
}

func (c *choice) String() string { return *c.value }

func (c *choice) Type() string {
	text := c.words[0]
	for _, w := range c.words[1:] {
		text += "|" + w
	}
	return text
}

func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if s == w {
			*c.value = s
			return nil
		}
	}
	return fmt.Errorf("want %s", c.Type())
}
