package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Coordinate transactions for services in any language, over HTTP",
		Long: `serve runs transactions over participants: services that are called over HTTP, by
an http:// or https:// URL, and databases: PostgreSQL, by a postgres:// URL, and
MariaDB, by a mysql:// URL.

What it is told by a flag can also stand in the environment, as DTC_DATA for --data,
or in the file of --config, as data: flags go before the environment, and that before
the file. 'dtc config check FILE' says what would hold.

Participants, and how long to wait for them, follow the file without a restart:
when it changes, and at SIGHUP.

SIGTERM and SIGINT drain: nothing new is taken, what runs may end. A second signal,
a second later or more, ends the process at once; what was not finished then, the
next start finishes.`,
		Args: cobra.NoArgs,
	}
	sources := configFlags(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		src := sources()
		cfg, err := src.Load()
		if err != nil {
			return usageError{err}
		}
		if cfg.Data == "" {
			return usagef("the directory of the decision log is not set: give --data, or DTC_DATA, or data in the file of --config")
		}
		s := &server{
			cfg: cfg, sources: src, out: cmd.OutOrStdout(), json: *output == "json",
			log: newLogger(cfg, cmd.ErrOrStderr()), audit: newAudit(cfg, cmd.ErrOrStderr()), began: time.Now(),
		}
		return s.run(cmd.Context())
	}
	return cmd
}

// configFlags adds a flag for each setting, and returns where the configuration comes
// from when the command line has been read.
func configFlags(cmd *cobra.Command) func() *config.Sources {
	src := &config.Sources{Flags: map[string]string{}}
	f := cmd.Flags()
	f.StringVar(&src.File, "config", "", "YAML `FILE` of settings and participants; DTC_CONFIG in the environment")
	f.StringArrayVar(&src.Participants, "participant", nil, "a participant as `NAME=URL`; repeatable")
	for _, s := range config.Settings {
		flag := f.VarPF(&settingFlag{s, src.Flags}, s.Flag(), "", s.Usage)
		if s.Switch() {
			flag.NoOptDefVal = "true"
		}
		flag.DefValue = s.Default()
	}
	f.SortFlags = false
	return func() *config.Sources {
		src.Environ = os.Environ()
		if src.File == "" {
			src.File = os.Getenv("DTC_CONFIG")
		}
		return src
	}
}

// settingFlag is a setting on the command line.
type settingFlag struct {
	*config.Setting
	set map[string]string
}

// String, Set and Type implement pflag.Value.
func (f *settingFlag) String() string { return f.set[f.Name] }

func (f *settingFlag) Set(text string) error {
	if err := f.Check(text); err != nil {
		return err
	}
	f.set[f.Name] = text
	return nil
}

func (f *settingFlag) Type() string {
	if f.Switch() {
		return "bool"
	}
	return f.Arg
}
