package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

// finding is one thing that doctor looked at.
type finding struct {
	About  string `json:"about"`  // server, participant, transaction, log, disk, config, database
	Level  string `json:"level"`  // ok, warn or bad
	What   string `json:"what"`   // what was found
	Advice string `json:"advice"` // what to do; empty if nothing
}

const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelBad  = "bad"
)

// examination gathers findings.
type examination struct{ findings []finding }

func (e *examination) add(level, about, advice, format string, args ...any) {
	// Lines that others wrote, such as the errors of participants, stay one line each.
	e.findings = append(e.findings, finding{about, level, plain(fmt.Sprintf(format, args...)), plain(advice)})
}

func (e *examination) count(level string) (n int) {
	for _, f := range e.findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

func doctorCommand() *cobra.Command {
	var data, file string
	var participants []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with a server, its log, or its configuration",
		Long: `doctor looks at a running server (--server, or the default address if nothing else is
named), at a data directory (--data), at a configuration file (--config) with the
databases that it names, and at databases that are named here (--participant), changes
nothing, and says of everything that is not as it should be what to do. It exits with 1
if something is bad, and with 3 if a log is damaged; warnings alone are no failure.`,
		Args: cobra.NoArgs,
	}
	r := remoteFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "look at the decision log in this directory `DIR`, whether a server uses it or not")
	f.StringVar(&file, "config", "", "look at this configuration `FILE`, and at the databases in it")
	f.StringArrayVar(&participants, "participant", nil, "look at this database, as `NAME=URL`; may be repeated")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var e examination
		if file != "" || participants != nil {
			e.config(cmd.Context(), &config.Sources{File: file, Participants: participants})
		}
		var damage error
		if data != "" {
			damage = e.data(data)
		}
		if cmd.Flags().Changed("server") || data == "" && file == "" && participants == nil {
			c, err := r.client()
			if err != nil {
				return err
			}
			e.server(cmd.Context(), c, r)
		}
		if err := e.print(cmd.OutOrStdout(), *output); err != nil {
			return err
		}
		if damage != nil {
			return damage
		}
		if n := e.count(levelBad); n > 0 {
			return fmt.Errorf("%d of %d findings are bad", n, len(e.findings))
		}
		return nil
	}
	return cmd
}

func (e *examination) print(out io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(out).Encode(struct {
			Findings []finding `json:"findings"`
			Bad      int       `json:"bad"`
			Warnings int       `json:"warnings"`
		}{e.findings, e.count(levelBad), e.count(levelWarn)})
	}
	for _, f := range e.findings {
		text := fmt.Sprintf("%-4s  %-11s  %s\n", f.Level, f.About, f.What)
		if f.Advice != "" {
			text += strings.Repeat(" ", 19) + "→ " + f.Advice + "\n"
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return nil
}

// config looks at a configuration as serve would, and at the databases in it.
func (e *examination) config(ctx context.Context, s *config.Sources) {
	c, err := s.Load()
	var mistakes config.Mistakes
	switch {
	case errors.As(err, &mistakes):
		for _, m := range mistakes {
			e.add(levelBad, "config", "", "%v", m)
		}
	case err != nil:
		e.add(levelBad, "config", "", "%v", err)
	default:
		if s.File != "" {
			e.add(levelOK, "config", "", "%s can be used", s.File)
		}
		e.databases(ctx, c, s.Participants)
	}
}
