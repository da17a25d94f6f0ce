package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the configuration of a server, and make tokens for its callers",
	}
	group(cmd)
	cmd.AddCommand(configCheckCommand(), configTokenCommand())
	return cmd
}

// checkReport is what `dtc config check -o json` prints.
type checkReport struct {
	OK       bool           `json:"ok"`
	Mistakes []checkMistake `json:"mistakes,omitempty"`
	*config.Report
}

type checkMistake struct {
	At      string `json:"at"` // a file, a variable or a flag
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

func configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a configuration file, or what a server would run with",
		Long: `check reads the file as 'dtc serve --config FILE' in the same environment would,
and the files that it names. It prints every mistake with its line, or everything that
would hold and where it comes from. What it prints holds no secret. Nothing is called
or opened for writing, so it can be run beside a server.`,
		Args: exactly(1),
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := (&config.Sources{File: args[0], Environ: os.Environ()}).Load()
		var mistakes config.Mistakes
		if err != nil && !errors.As(err, &mistakes) {
			return err
		}
		report := checkReport{OK: err == nil}
		if report.OK {
			report.Report = cfg.Report()
		}
		for _, m := range mistakes {
			report.Mistakes = append(report.Mistakes, checkMistake{m.File, m.Line, m.Text})
		}
		return errors.Join(report.print(cmd, *output == "json", mistakes), summary(mistakes))
	}
	return cmd
}

func (r *checkReport) print(cmd *cobra.Command, asJSON bool, mistakes config.Mistakes) error {
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	text := mistakes.Error() + "\n"
	if r.OK {
		text = r.String()
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}

func summary(mistakes config.Mistakes) error {
	switch len(mistakes) {
	case 0:
		return nil
	case 1:
		return errors.New("the configuration has a mistake")
	}
	return fmt.Errorf("the configuration has %d mistakes", len(mistakes))
}
